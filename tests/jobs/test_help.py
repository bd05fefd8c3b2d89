"""`--help` and the list of verbs: complete, in plain text, and fast because nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jobs
from jobs import build, runs
from jobs.__main__ import main
from jobs.listing import GROUPS, overview, sub_verbs, verbs
from reid import __version__
from tests.support.places import ROOT
from tests.support.verbs import Call, Outcome

SHARED = {"__init__", "__main__", "common", "dry_run", "interrupts", "listing"}
OF_VERBS = {"build": build.SUB_VERBS, "runs": runs.SUB_VERBS}
COMMANDS = [*verbs(), *(f"{verb} {word}" for verb, words in OF_VERBS.items() for word in words)]
HEAVY = ("torch", "ray", "pyarrow", "numpy", "pydantic", "yaml", "PIL", "rich", "lance", "faiss", "fastapi")


@pytest.fixture
def anyreid(monkeypatch: pytest.MonkeyPatch, call: Call, capsys: pytest.CaptureFixture[str]) -> Call:
    """`anyreid(*arguments)`: what the console script prints and its exit code."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["/some/bin/anyreid", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


def test_every_file_is_a_verb_a_sub_verb_or_shared() -> None:
    files = {file.stem for file in Path(jobs.__file__).parent.glob("*.py")} - SHARED
    subs = {f"{verb}_{word}" for verb in OF_VERBS for word in sub_verbs(verb)}
    assert files == {*verbs(), *subs}
    assert all(set(sub_verbs(verb)) == set(words) for verb, words in OF_VERBS.items())


def test_the_list_has_every_verb_once_in_a_group_with_its_first_line(anyreid: Call) -> None:
    told = anyreid("--help")
    assert (told.code, told.err) == (0, "")
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    subs = {f"{verb} {word}": text for verb in OF_VERBS for word, text in sub_verbs(verb).items()}
    for command, text in {**verbs(), **subs}.items():
        assert lines.count(f"{command} {text}") == 1, command
    named = [name for members in GROUPS.values() for name in members]
    assert sorted(named) == sorted(verbs())
    assert max(len(line) for line in told.out.splitlines()) <= 110


def test_a_verb_that_is_in_no_group_is_listed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GROUPS, "Data", ("doctor", "build"))
    assert f"More:\n  translate       {verbs()['translate']}" in overview("anyreid")


def test_the_console_script_is_the_function_that_lists_the_verbs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"anyreid": f"{main.__module__}:{main.__name__}"}
    assert project["version"] == __version__


def test_version_nothing_and_a_wrong_verb(anyreid: Call) -> None:
    assert anyreid("--version") == Outcome(0, f"anyreid {__version__}\n", "")
    nothing = anyreid()
    assert (nothing.code, nothing.out) == (2, "") and "Usage: anyreid VERB" in nothing.err
    wrong = anyreid("trian", "--preset", "baseline/synthetic")
    assert (wrong.code, wrong.out) == (2, "") and "'trian'. Did you mean 'train'?" in wrong.err
    assert anyreid("common").code == 2


def test_a_verb_by_the_console_script_does_what_its_module_does(anyreid: Call, tmp_path: Path) -> None:
    given = ("--preset", "baseline/synthetic", f"workdir={tmp_path}", "train.epochs=3", "--dry-run")
    module = [sys.executable, "-m", "jobs.train", *given]
    done = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert anyreid("train", *given) == Outcome(0, done.stdout, "")
    wrong = anyreid("train", "--preset", "baseline/synthetic", "train.epoch=3")
    assert wrong.code == 2 and wrong.err.startswith("error: train.epoch: unknown key.")
    assert anyreid("build", "verify", "/none/here").code == 1
    assert anyreid("build", "verfy").code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_verb(anyreid: Call, command: str) -> None:
    told = anyreid(*command.split(), "--help")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"Usage: anyreid {command} [OPTIONS]")
    assert "--debug" in told.out
    words = told.out.lower().split()
    assert "reads" in words and "writes" in words, "which folders"
    example = told.out.partition("Example:\n\n")[2].splitlines()[0]
    assert example.startswith(f"    python -m jobs.{command} ") or example == f"    python -m jobs.{command}"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    program = (
        "import sys; from jobs.__main__ import main\n"
        f"sys.argv = ['anyreid', *{command.split()!r}, '--help']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout
