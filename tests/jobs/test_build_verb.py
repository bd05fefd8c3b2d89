"""The words of `python -m jobs.build`: sub-verbs, settings, mistakes; and what a build tells at its end."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from jobs import build
from jobs.common import OverridesArgument
from tests.support.sets.photos import photos
from tests.support.tiny_configs import write_yaml
from tests.support.verbs import Call, Outcome


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """`python -m jobs.build <arguments>`, in this process."""
    monkeypatch.setattr(sys, "argv", ["jobs.build", *arguments])
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    code = 0
    try:
        build.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    return Outcome(code, printed.out, printed.err)


def test_a_first_word_that_is_a_sub_verb_runs_its_function_with_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def main_verify(overrides: OverridesArgument = None, thorough: bool = False) -> None:
        """Check."""
        seen.extend([*(overrides or []), str(thorough)])

    module = types.ModuleType("jobs.build_verify")
    module.main_verify = main_verify  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="jobs.build_verify")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "jobs.build_verify", module)
    done = run("verify", "--thorough", "a.b=1", monkeypatch=monkeypatch, capsys=capsys)
    assert (done.code, done.err, seen) == (0, "", ["a.b=1", "True"])


def test_an_unknown_word_names_the_nearest_sub_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run("verfy", "--preset", "baseline/demo", monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2
    assert done.err.startswith("error: Unknown word 'verfy'. Did you mean 'verify'?")
    assert "key=value" in done.err


def test_a_sub_verb_in_a_later_place_is_told(call: Call) -> None:
    done = call(build.build, "--preset", "baseline/demo", "verify")
    assert done.code == 2 and "must be the first word: python -m jobs.build verify" in done.err


def test_a_sub_verb_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "SUB_VERBS", ("melt",))
    done = run("melt", monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2 and done.err == "error: python -m jobs.build melt: this version does not have it.\n"


def test_the_end_of_a_build_shows_reasons_speed_and_counts(
    call: Call, tmp_path: Path, ray_session: None
) -> None:
    root = photos(tmp_path / "in")
    reader = f"data.reader={{name: folder, path: {root}, manifest: list.csv}}"
    given = ("--config", write_yaml(tmp_path), reader)
    told = call(build.build, *given)
    assert told.code == 0, told.err
    assert "stage  " in told.out and "rows/s a worker: " in told.out
    (line,) = [line for line in told.out.splitlines() if "not an image" in line and "notes.jpg" in line]
    assert line.split()[:2] == ["read", "1"]
    tree = json.loads(call(build.build, *given, "--json").out)
    assert (tree["built"], tree["quarantined"]) == (0, 5)
    assert sum(reason["count"] for reason in tree["quarantine"]) == 5
    assert tree["duplicates"] == {
        "same_identity": 0, "across_splits": 0, "conflicts": 0, "conflicting_rows": 0
    }  # fmt: skip


def test_too_many_bad_rows_fail_with_the_table_of_reasons(
    call: Call, tmp_path: Path, ray_session: None
) -> None:
    root = photos(tmp_path / "in")
    reader = f"data.reader={{name: folder, path: {root}, manifest: list.csv}}"
    told = call(build.build, "--config", write_yaml(tmp_path), reader, "build.max_bad_fraction=0.1")
    assert told.code == 1
    assert "error: 5 of 14 rows are bad, over build.max_bad_fraction=0.1; nothing is published" in told.err
    assert "notes.jpg" in told.err and "empty.jpg" in told.err
