"""`doctor`: exit codes, JSON, the command to go on with, and the bounded check of Ray."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import build
from jobs import doctor as verb
from jobs.doctor import bounded_ray, doctor, try_ray
from reid.doctor.finding import Check
from reid.doctor.machine import environment
from tests.support.sets.healthy import healthy
from tests.support.verbs import Call

OK = Check("python", "ok", "Python 3")


def test_a_healthy_folder_exits_0_and_ends_with_the_command_to_build_it(call: Call, tmp_path: Path) -> None:
    outcome = call(doctor, "data", healthy(tmp_path / "own").write())
    assert outcome.code == 0
    assert "errors: 0, warnings: 0" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("  python -m jobs.build --preset baseline/demo ")
    assert "doctor: pictures: 12/12" in outcome.err


def test_the_command_to_build_works(call: Call, tmp_path: Path) -> None:
    told = json.loads(call(doctor, "data", healthy(tmp_path / "own").write(), "--json").out)
    python, _, module, *arguments = shlex.split(told["next"])
    assert (python, module) == ("python", "jobs.build")
    dry = call(build.build, *arguments, f"workdir={tmp_path / 'work'}", "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert json.loads(dry.out)["build"]["rows"] == {"train": 6, "test": 6}


def test_an_error_exits_1_and_is_shown_with_example_and_remedy(call: Call, tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    world.file(1, 0).write_bytes(b"no picture")
    outcome = call(doctor, "data", world.write())
    assert outcome.code == 1
    assert "error: 1 of 12 captures cannot be read. [unreadable]" in outcome.out
    assert "for example: " in outcome.out and "train_1_0_rgb.png" in outcome.out
    assert "remedy: fetch the files again" in outcome.out
    assert "Traceback" not in outcome.err and "error:" not in outcome.err


def test_a_warning_exits_0(call: Call, tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    world.drop(12, 1, "nir")
    outcome = call(doctor, "data", world.write())
    assert outcome.code == 0
    assert "[incomplete-capture]" in outcome.out


def test_json_is_all_of_stdout(call: Call, tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    world.file(1, 0).write_bytes(b"no picture")
    outcome = call(doctor, "data", world.write(), "--json")
    told = json.loads(outcome.out)
    assert outcome.code == 1 and told["ok"] is False
    assert [f["code"] for f in told["findings"]] == ["unreadable"]
    assert told["layout"] == "folder" and told["counts"]["train"]["all"]["captures"] == 6


def test_a_sample_and_a_reader_are_chosen(call: Call, tmp_path: Path) -> None:
    root = healthy(tmp_path / "own").write()
    told = json.loads(call(doctor, "data", root, "--sample", "3", "--reader", "folder", "--json").out)
    assert told["looked_at"] == 3
    assert (
        json.loads(call(doctor, "data", root, "--sample", "3", "--all-files", "--json").out)["looked_at"]
        == 12
    )


def test_a_configuration_can_be_examined_and_names_its_own_build(call: Call, tmp_path: Path) -> None:
    root = healthy(tmp_path / "own").write()
    section = f"data.reader={{name: folder, path: {root}, manifest: list.csv}}"
    given = ("--preset", "baseline/demo", section, "evaluate.protocol=all")
    refused = json.loads(call(doctor, "data", *given, "--json").out)  # two train: none can be held out
    assert not refused["ok"] and "validation-refused" in {f["code"] for f in refused["findings"]}
    given = (*given, "train.val.fraction=0", "train.batch.identities=2", "data.modalities=rgb+nir")
    given = (*given, "evaluate.gallery=rgb", "evaluate.subsets=null", "index.subsets=[rgb]")
    told = json.loads(call(doctor, "data", *given, "--json").out)
    assert told["ok"] and told["protocol"] == "all"
    assert told["next"] == shlex.join(["python", "-m", "jobs.build", *given])


def test_every_file_of_a_finding_is_listed_on_demand(call: Call, tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    for pid in (1, 2, 11):
        for camera in (0, 1):
            world.file(pid, camera).write_bytes(f"no picture of {pid} by {camera}".encode())
    root = world.write()
    shown = call(doctor, "data", root).out
    assert shown.count("file: ") == 5 and "… 6 files in all; --files N lists more" in shown
    assert call(doctor, "data", root, "--files", "9").out.count("file: ") == 6
    (found,) = json.loads(call(doctor, "data", root, "--json").out)["findings"]
    assert found["files_total"] == 6 and str(world.file(1, 0)) in found["files"]


def test_a_configuration_is_written_with_its_commands_and_not_replaced(call: Call, tmp_path: Path) -> None:
    root, file = healthy(tmp_path / "own").write(), tmp_path / "mine.yaml"
    outcome = call(doctor, "data", root, "--write", str(file))
    assert outcome.code == 0, outcome.err
    assert f"{file} is written" in outcome.out
    assert f"  python -m jobs.build --config {file}" in outcome.out.splitlines()
    assert "# this table lists the files and their identities" in file.read_text()
    file.write_text("mine")
    refused = call(doctor, "data", root, "--write", str(file))
    assert refused.code == 2 and "--force" in refused.err and file.read_text() == "mine"
    assert call(doctor, "data", root, "--write", str(file), "--force").code == 0
    again = call(doctor, "--config", str(file))
    assert again.code == 0 and "errors: 0" in again.out


def test_what_a_verb_would_refuse_is_told_of_a_configuration(call: Call, tmp_path: Path) -> None:
    root, file = healthy(tmp_path / "own").write(), tmp_path / "mine.yaml"
    assert call(doctor, "data", root, "--write", str(file)).code == 0
    outcome = call(doctor, "--config", str(file), "data.modalities=rgb+tir", "--json")
    told = {f["code"]: f for f in json.loads(outcome.out)["findings"]}
    assert outcome.code == 1 and "no training row" in told["train-refused"]["text"]
    assert "build.generate" in told["train-refused"]["remedy"]


def test_a_plain_file_is_told_as_what_it_is(call: Call, tmp_path: Path) -> None:
    photo = healthy(tmp_path / "own").file(1, 0)
    for more in ((), ("--write", str(tmp_path / "mine.yaml"))):
        outcome = call(doctor, "data", str(photo), *more)
        assert outcome.code == 1 and "is one picture (PNG, 32x64)" in outcome.out
    assert not (tmp_path / "mine.yaml").exists()


def test_rendered_data_can_be_examined(call: Call) -> None:
    few = ("data.reader.train_identities=4", "data.reader.test_identities=2", "train.batch.identities=2")
    told = json.loads(call(doctor, "data", "--preset", "baseline/demo", *few, "--json").out)
    assert told["ok"] and told["layout"] == "synthetic"
    assert told["counts"]["test"]["all"]["images"] == dict.fromkeys(("rgb", "nir", "tir", "sketch"), 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dat",), ("'dat'", "Did you mean 'data'?")),
        (("data",), ("folder or s3://", "--config")),
        (("env", "x=1"), ("takes options only",)),
        (("data", "--preset", "baseline/demo", "--reader", "folder"), ("--reader",)),
        (("data", "/", "--reader", "foldr"), ("--reader", "'folder'")),
        ((), ("data, env, ray", "--config")),
        (("data", "--preset", "baseline/demo", "--write", "a.yaml"), ("--write: give a PATH",)),
    ],
)
def test_wrong_usage_exits_2(call: Call, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    outcome = call(doctor, *arguments)
    assert outcome.code == 2 and outcome.out == ""
    for word in words:
        assert word in outcome.err


def test_a_missing_folder_exits_1(call: Call, tmp_path: Path) -> None:
    outcome = call(doctor, "data", str(tmp_path / "none"))
    assert outcome.code == 1 and "no such folder" in outcome.err


def test_a_machine_without_failures_exits_0(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "checks", lambda workdir: [OK, Check("disk", "warn", "full", "tidy up")])
    outcome = call(doctor, "env", "--no-ray")
    assert outcome.code == 0
    assert outcome.out.splitlines() == ["ok    python: Python 3", "warn  disk: full", "      remedy: tidy up"]


def test_a_failure_exits_1_and_json_lists_every_check(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    bad = Check("storage", "fail", "closed", "open it")
    monkeypatch.setattr(environment, "checks", lambda workdir: seen.append(workdir) or [OK, bad])
    monkeypatch.setattr(verb, "bounded_ray", lambda: Check("ray", "ok", "up"))
    outcome = call(doctor, "env", "--workdir", "s3://bucket/x", "--json")
    assert outcome.code == 1 and seen == ["s3://bucket/x"]
    told = json.loads(outcome.out)
    assert told["ok"] is False
    assert [c["name"] for c in told["checks"]] == ["python", "storage", "ray"]


# Ray


class Child:
    """A process of the check that prints, or does not end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        self.started: list[subprocess.Popen[str]] = []
        popen = subprocess.Popen

        def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
            assert command[1:4] == ["-m", "jobs.doctor", "ray"]
            self.started.append(popen([sys.executable, "-c", code], **options))
            return self.started[-1]

        monkeypatch.setattr(verb.subprocess, "Popen", start)


def test_a_ray_that_hangs_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = (
        "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    child = Child(monkeypatch, nested)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    started = time.monotonic()
    check = bounded_ray(seconds=1)
    assert time.monotonic() - started < 20
    assert check.status == "fail" and "RAY_ADDRESS=10.0.0.1:6379" in check.text and check.remedy
    group = child.started[0].pid
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("something of the child still runs")


def test_a_ray_that_does_not_start_is_told_by_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    Child(monkeypatch, "import sys; sys.exit('error: the port is taken (--debug shows more)')")
    check = bounded_ray()
    assert (check.status, check.text) == ("fail", "the port is taken (--debug shows more)")
    assert check.remedy is not None and "--debug" in check.remedy


def test_a_good_answer_of_the_child_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.dumps({"ok": True, "checks": [{"name": "ray", "status": "ok", "text": "up", "remedy": None}]})
    Child(monkeypatch, f"print({good!r})")
    assert bounded_ray() == Check("ray", "ok", "up")


@pytest.mark.usefixtures("ray_session")
def test_a_task_runs_on_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session is everybody's
    check = try_ray()
    assert check.status == "ok", check
    assert f"Ray {ray.__version__}" in check.text and "nodes 1" in check.text


@pytest.mark.slow
def test_env_starts_a_ray_of_its_own_and_leaves_none() -> None:
    check = bounded_ray()
    assert check.status == "ok", check
