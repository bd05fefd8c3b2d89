"""Market-1501 as published: names, roles, distractors that stay and junk that does not."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from PIL import Image

from reid.data.readers.base import Record
from reid.data.readers.market1501 import Config, Reader
from reid.data.shards.schema import validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality

NAMES = {
    "bounding_box_train": ("1500_c6s3_086567_01.jpg", "0002_c1s1_000451_03.jpg"),
    "query": ("0003_c1s6_015971_00.jpg", "0001_c2s1_001976_00.jpg"),
    "bounding_box_test": (
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0003_c1s6_015996_02.jpg",
        "0003_c4s6_015641_04.jpg",
        "-1_c6s4_022952_05.jpg",
    ),
}


def write(root: Path, folder: str, name: str) -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 8), (len(name), 0, 0)).save(path, "JPEG")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, names in NAMES.items():
        for name in names:
            write(tmp_path, folder, name)
    return tmp_path


def reader(root: Path) -> Reader:
    return Reader(Config(path=str(root)), "market1501")


def read(root: Path) -> list[Record]:
    return list(reader(root).records())


def test_names_give_pid_and_camera_and_folders_split_and_role(root: Path) -> None:
    labels = [r.labels for r in read(root)]
    assert [(v.sample_id, v.split, v.roles, v.pid, v.camid) for v in labels] == [
        ("bounding_box_train/0002_c1s1_000451_03", "train", None, 2, 0),
        ("bounding_box_train/1500_c6s3_086567_01", "train", None, 1500, 5),
        ("query/0001_c2s1_001976_00", "test", ("query",), 1, 1),
        ("query/0003_c1s6_015971_00", "test", ("query",), 3, 0),
        ("bounding_box_test/0000_c1s1_000151_01", "test", ("gallery",), 0, 0),
        ("bounding_box_test/0003_c1s6_015996_02", "test", ("gallery",), 3, 0),
        ("bounding_box_test/0003_c4s6_015641_04", "test", ("gallery",), 3, 3),
    ]
    assert {(v.dataset, v.location, v.timestamp) for v in labels} == {("market1501", None, None)}
    assert labels[0].extra == {"sequence": "1", "frame": "000451", "index": "03"}


def test_junk_is_left_out_and_counted_in_the_log(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reid.data.readers.market1501"):
        found = read(root)
    assert not [r for r in found if r.labels.pid < 0 or r.problem]
    assert caplog.messages == [f"{root}/bounding_box_test: 2 junk boxes (pid -1) left out"]


def test_a_distractor_is_found_but_never_right_and_the_own_camera_does_not_count(root: Path) -> None:
    labels = [SampleLabels.of(reader(root).load(r, 1000)) for r in read(root)]
    test = [v for v in labels if v.split == "test"]
    protocol = get_protocol("market1501")
    queries = protocol.queries(test, (Modality.RGB,)).items
    gallery = protocol.gallery(test, (Modality.RGB,)).items
    assert [q.pid for q in queries] == [1, 3]
    assert [(g.pid, g.camid) for g in gallery] == [(0, 0), (3, 0), (3, 3)]
    dropped = protocol.exclude(*label_arrays_of(queries, gallery, test))
    assert dropped.tolist() == [[False, False, False], [False, True, False]]


def test_a_picture_is_kept_as_it_is(root: Path) -> None:
    record = read(root)[0]
    sample = reader(root).load(record, 1000)
    assert validate(sample) == []
    assert sample.modalities == (Modality.RGB,)
    assert sample.images[Modality.RGB].image == Path(record.images[Modality.RGB]).read_bytes()


def test_the_path_may_be_the_folder_above(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    above = tmp_path_factory.mktemp("above")
    shutil.copytree(root, above / "Market-1501-v15.09.15")
    assert [r.labels for r in read(above)] == [r.labels for r in read(root)]


def test_a_doubled_suffix_is_part_of_the_name(root: Path) -> None:
    write(root, "query", "0003_c1s6_015971_00.jpg.jpg")
    records = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    assert [r.problem for r in records] == [None] * 8
    assert "query/0003_c1s6_015971_00.jpg" in {r.labels.sample_id for r in records}


@pytest.mark.parametrize(
    "name",
    ["man.jpg", "0003.jpg", "0003_c7s1_000001_00.jpg", "0003_c2_f0046985.jpg", "-2_c1s1_000001_00.jpg"],
)
def test_a_name_that_says_nothing_is_set_aside(root: Path, name: str) -> None:
    path = write(root, "query", name)
    (bad,) = [r for r in read(root) if r.problem]
    assert (bad.problem or "").startswith(f"{path}: the name is no <pid>_c<1-6>s")
    with pytest.raises(DataError, match="rename or remove"):
        reader(root).load(bad, 1000)


@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_a_distractor_outside_the_gallery_is_set_aside(root: Path, folder: str) -> None:
    write(root, folder, "0000_c1s1_000151_01.jpg")
    (bad,) = [r for r in read(root) if r.problem]
    assert "belongs in bounding_box_test only" in (bad.problem or "")


def test_other_files_are_passed_over(root: Path) -> None:
    for name in ("Thumbs.db", "._0003_c1s6_015971_00.jpg", "readme.txt"):
        (root / "query" / name).write_text("x")
    assert len(read(root)) == 7


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)<path>/bounding_box_train/\*\.jpg"):
        read(tmp_path / "nowhere")


def test_a_missing_folder_shows_what_is_there_instead(root: Path) -> None:
    shutil.move(root / "query", root / "queries")
    found = "bounding_box_test/, bounding_box_train/, queries/"
    with pytest.raises(DataError, match=rf"/query is missing\. Found in .*: {found}\.\nExpected"):
        read(root)


def test_a_folder_without_pictures_is_refused(root: Path) -> None:
    for name in NAMES["query"]:
        (root / "query" / name).rename(root / "query" / f"{name}.png")
    with pytest.raises(DataError, match=r"query: no \.jpg file\. Found in it: 0001_c2s1_001976_00\.jpg\.png"):
        read(root)
