"""ICFG-PEDES as published: ids from 0, two splits, one caption a photo, and two spellings of the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.readers.base import Record
from reid.data.readers.icfg_pedes import Config, Reader
from reid.errors import DataError
from tests.support.public_layouts.icfg_pedes import ENTRIES
from tests.support.sets.annotated import write_set


def read(root: Path) -> list[Record]:
    return list(Reader(Config(path=str(root)), "icfg-pedes").records())


@pytest.mark.parametrize("name", ["ICFG-PEDES.json", "ICFG_PEDES.json"])
def test_both_spellings_of_the_list_give_the_same(tmp_path: Path, name: str) -> None:
    found = read(write_set(tmp_path, name, ENTRIES))
    assert [
        (r.labels.sample_id, r.labels.split, r.labels.roles, r.labels.pid, r.labels.camid, r.captions)
        for r in found
    ] == [
        ("train/0000/a.jpg", "train", None, 0, None, ("A man.",)),
        ("train/0002/b.jpg", "train", None, 1, None, ("A boy.",)),
        ("test/0627/0627_010.jpg", "test", ("query", "gallery"), 3102, None, ("A lady.",)),
    ]
    assert [r.problem for r in found] == [None] * 3


def test_ids_from_1_are_not_this_set(tmp_path: Path) -> None:
    write_set(tmp_path, "ICFG-PEDES.json", [{**e, "id": e["id"] + 1} for e in ENTRIES])
    with pytest.raises(DataError, match=r"training ids must run from 0 to 2 without a gap; missing: 0\."):
        read(tmp_path)


def test_a_missing_list_names_both_spellings_and_shows_what_is_there(tmp_path: Path) -> None:
    write_set(tmp_path, "icfg.json", ENTRIES)
    found = r"no ICFG-PEDES\.json or ICFG_PEDES\.json in it\. Found: imgs/, icfg\.json\."
    with pytest.raises(DataError, match=rf"{found}\nExpected(?s:.*)train,test"):
        read(tmp_path)
