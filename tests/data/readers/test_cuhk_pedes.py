"""CUHK-PEDES as published: ids from 1, three splits, photos of several sets, captions in their order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reid.data.readers.base import Record
from reid.data.readers.cuhk_pedes import Config, Reader
from reid.data.shards.schema import Caption, validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.modality import Modality
from tests.support.public_layouts.cuhk_pedes import ENTRIES
from tests.support.sets.annotated import write_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path, "reid_raw.json", ENTRIES)


def reader(root: Path) -> Reader:
    return Reader(Config(path=str(root)), "cuhk-pedes")


def read(root: Path) -> list[Record]:
    return list(reader(root).records())


def test_ids_splits_and_roles_are_the_lists_and_no_camera_is_known(root: Path) -> None:
    labels = [r.labels for r in read(root)]
    assert [(v.sample_id, v.split, v.roles, v.pid, v.camid) for v in labels] == [
        ("cam_a/000_45.bmp", "train", None, 1, None),
        ("cam_b/9.jpg", "train", None, 2, None),
        ("test_query/p1_s2.jpg", "train", None, 1, None),
        ("CUHK03/77_1.png", "val", None, 11004, None),
        ("Market/1363_c6s3_4.jpg", "test", ("query", "gallery"), 12004, None),
    ]
    assert {(v.dataset, v.location, v.timestamp) for v in labels} == {("cuhk-pedes", None, None)}
    assert labels[0].extra == {"file_path": "cam_a/000_45.bmp"}


def test_a_photo_keeps_all_its_captions_in_their_order(root: Path) -> None:
    assert [r.captions for r in read(root)] == [
        ("A man.",),
        ("C.", "A.", "B."),
        ("Back.", "Bag."),
        ("One.", "Two."),
        ("A woman with a bag.", "She walks."),
    ]


def test_a_sample_has_the_photo_as_it_is_and_captured_captions(root: Path) -> None:
    record = read(root)[-1]
    sample = reader(root).load(record, 1000)
    assert validate(sample) == []
    assert sample.modalities == (Modality.RGB, Modality.TEXT)
    assert sample.images[Modality.RGB].image == (root / "imgs" / ENTRIES[0]["file_path"]).read_bytes()
    assert sample.captions == (Caption("A woman with a bag."), Caption("She walks."))


def test_another_caption_changes_the_shards_key(root: Path) -> None:
    before = [p.key for p in plan_shards(reader(root), "recipe", 100)]
    assert before == [p.key for p in plan_shards(reader(root), "recipe", 100)]
    write_set(root, "reid_raw.json", [{**ENTRIES[0], "captions": ["Other."]}, *ENTRIES[1:]])
    after = [p.key for p in plan_shards(reader(root), "recipe", 100)]
    assert before[-1] != after[-1]


def test_a_photo_that_is_listed_twice_is_one_sample_and_one_problem(root: Path) -> None:
    write_set(root, "reid_raw.json", [*ENTRIES, ENTRIES[0]])
    problems = [r.problem for p in plan_shards(reader(root), "recipe", 100) for r in p.records if r.problem]
    assert len(problems) == 1
    assert "'Market/1363_c6s3_4.jpg' occurs more than once" in problems[0]


def test_ids_from_0_are_not_this_set(root: Path) -> None:
    write_set(root, "reid_raw.json", [{**e, "id": e["id"] - 1} for e in ENTRIES])
    with pytest.raises(DataError, match="training ids start at 0, not at 1"):
        read(root)


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)<path>/reid_raw\.json(?s:.*)cam_a"):
        read(tmp_path / "nowhere")


def test_a_missing_list_shows_what_is_there_instead(root: Path) -> None:
    (root / "reid_raw.json").rename(root / "caption_all.json")
    found = r"no reid_raw\.json in it\. Found: imgs/, caption_all\.json\.\nExpected"
    with pytest.raises(DataError, match=found):
        read(root)


def test_missing_pictures_show_what_is_there_instead(root: Path) -> None:
    shutil.rmtree(root / "imgs" / "CUHK03")
    with pytest.raises(
        DataError, match=r"imgs/CUHK03 is missing;.* Found in .*imgs: Market/, cam_a/.*\nExpected"
    ):
        read(root)
    shutil.rmtree(root / "imgs")
    with pytest.raises(DataError, match=r"imgs is missing\. Found in .*: reid_raw\.json\.\nExpected"):
        read(root)
