"""Verbs called in this process, as the command line would, and a small trained world for them."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.common import run_verb
from pipelines.index import index_run
from reid.runs.run import Run
from tests.support.tiny_configs import config_of, silent, trained, write_yaml
from tests.support.verbs import Call, Outcome, Verb


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """`call(verb, *arguments)`: what `python -m jobs.<verb> <arguments>` prints and its exit code."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(verb: Verb, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["jobs", *arguments])
        capsys.readouterr()
        try:
            run_verb(verb)
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return Outcome(int(code or 0), printed.out, printed.err)

    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trained world lies: its tiny.yaml, and `work` once `run` was asked for."""
    folder = tmp_path_factory.mktemp("world")
    write_yaml(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(ray_session: None, world: Path) -> Run:
    """Built, trained and indexed."""
    found = trained(world / "work")
    index_run(config_of(world / "work"), found, silent)
    return found
