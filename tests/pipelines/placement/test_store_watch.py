"""A store that is out while workers wait for it is told by the driver, from the first look to its return."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.placement.store_watch import StoreWatch
from tests.support.s3 import Relay


def test_an_outage_is_told_at_every_look_and_its_end_once(bucket: str, relay: Relay) -> None:
    lines: list[str] = []
    watch = StoreWatch("build", f"{bucket}/work", lines.append)
    watch.look()
    assert lines == [], "a store that answers is not worth a line"
    relay.cut()
    watch.look()
    watch.look()
    assert len(lines) == 2 and all("build: the store does not answer" in line for line in lines)
    assert re.search(rf"\({bucket}/work: [^)]+\); the workers wait", lines[0])
    assert re.search(r"for \d+ s now", lines[1])
    assert all(len(line) < 200 for line in lines), "the library's own error is longer"
    relay.restore()
    watch.look()
    watch.look()
    assert len(lines) == 3 and re.search(r"the store answers again, after about \d+ s", lines[2])


def test_a_store_that_refuses_the_key_answers(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    lines: list[str] = []
    StoreWatch("build", f"{bucket}/work", lines.append).look()
    assert lines == [], "the workers end by it, with the remedy"


@pytest.mark.parametrize("place", [None, "here"])
def test_a_local_folder_is_never_asked(place: str | None, tmp_path: Path) -> None:
    lines: list[str] = []
    StoreWatch("build", place and str(tmp_path / place), lines.append).look()
    assert lines == []
