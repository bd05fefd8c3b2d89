"""RSTPReid as published: ids from 0, three splits, flat pictures under img_path, two captions each."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.readers.base import Record
from reid.data.readers.rstp_reid import Config, Reader
from reid.errors import DataError
from reid.modality import Modality
from tests.support.public_layouts.rstp_reid import ENTRIES
from tests.support.sets.annotated import write_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path, "data_captions.json", ENTRIES)


def read(root: Path) -> list[Record]:
    return list(Reader(Config(path=str(root)), "rstp-reid").records())


def test_the_list_gives_ids_splits_roles_and_captions(root: Path) -> None:
    found = read(root)
    assert [
        (r.labels.sample_id, r.labels.split, r.labels.roles, r.labels.pid, r.labels.camid, r.captions)
        for r in found
    ] == [
        ("0000_c14_0031.jpg", "train", None, 0, None, ("A1.", "A2.")),
        ("0001_c14_0031.jpg", "train", None, 1, None, ("B2.", "B1.")),
        ("3701_c5_0006.jpg", "val", None, 3701, None, ("V1.", "V2.")),
        ("3901_c1_0002.jpg", "test", ("query", "gallery"), 3901, None, ("T1.", "T2.")),
    ]
    assert found[0].images == {Modality.RGB: str(root / "imgs" / "0000_c14_0031.jpg")}
    assert found[0].labels.extra == {"file_path": "0000_c14_0031.jpg"}


def test_one_lost_picture_is_set_aside_and_all_lost_are_an_error(root: Path) -> None:
    (root / "imgs" / "0001_c14_0031.jpg").unlink()
    problems = [r.problem for r in read(root)]
    assert [p is not None and "0001_c14_0031.jpg, which is missing" in p for p in problems] == [
        False,
        True,
        False,
        False,
    ]
    (root / "imgs").rename(root / "images")
    (root / "imgs" / "train").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"none of its 4 pictures is there(?s:.*)Found in .*imgs: train/\.\nExpected"
    ):
        read(root)


def test_a_missing_list_shows_what_is_there_instead(root: Path) -> None:
    (root / "data_captions.json").unlink()
    with pytest.raises(
        DataError, match=r"no data_captions\.json in it\. Found: imgs/\.\nExpected(?s:.*)img_path"
    ):
        read(root)
