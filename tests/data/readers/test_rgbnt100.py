"""RGBNT100 as published: names, roles, and strips cut into three pictures without loss."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from reid.data.images import decode_rgb, open_image
from reid.data.readers.base import Record
from reid.data.readers.rgbnt100 import Config, Reader
from reid.data.shards.schema import validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError, StorageError
from reid.modality import Modality

VISUAL = (Modality.RGB, Modality.NIR, Modality.TIR)
TRAIN = ("0001_c0001_000.jpg", "0258_c0008_199.jpg")
GALLERY = ("0561_c0001_006.jpg", "0561_c0002_011.jpg")
QUERY = GALLERY[:1]  # the query's picture lies in the gallery too, under the same name
LIMIT = 100_000


def strip(width: int = 12, height: int = 4, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(root: Path, folder: str, name: str, pixels: npt.NDArray[np.uint8] | None = None) -> Path:
    path = root / "rgbir" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(strip() if pixels is None else pixels).save(path, "JPEG")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in reversed(TRAIN):
        write(tmp_path, "bounding_box_train", name)
    for name in QUERY:
        write(tmp_path, "query", name)
    for name in GALLERY:
        write(tmp_path, "bounding_box_test", name)
    return tmp_path


def reader(root: Path) -> Reader:
    return Reader(Config(path=str(root)), "rgbnt100")


def read(root: Path) -> list[Record]:
    return list(reader(root).records())


def test_names_give_pid_and_camera_and_folders_split_and_role(root: Path) -> None:
    labels = [r.labels for r in read(root)]
    assert [(v.sample_id, v.split, v.roles, v.pid, v.camid) for v in labels] == [
        ("bounding_box_train/0001_c0001_000", "train", None, 1, 0),
        ("bounding_box_train/0258_c0008_199", "train", None, 258, 7),
        ("query/0561_c0001_006", "test", ("query",), 561, 0),
        ("bounding_box_test/0561_c0001_006", "test", ("gallery",), 561, 0),
        ("bounding_box_test/0561_c0002_011", "test", ("gallery",), 561, 1),
    ]
    assert {(v.dataset, v.location) for v in labels} == {("rgbnt100", None)}


def test_the_path_may_be_the_inner_folder(root: Path) -> None:
    assert read(root / "rgbir") == read(root)


def test_a_query_and_its_copy_in_the_gallery_are_two_samples(root: Path) -> None:
    records = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    assert len({r.labels.sample_id for r in records}) == len(records) == 5
    assert [r.problem for r in records] == [None] * 5


def test_a_strip_is_cut_into_rgb_nir_and_tir_pixel_for_pixel(root: Path) -> None:
    path = write(root, "query", "0600_c0003_000.jpg", strip(768, 128, seed=1))
    (record,) = [r for r in read(root) if r.labels.pid == 600]
    assert record.images == dict.fromkeys(VISUAL, str(path))
    sample = reader(root).load(record, LIMIT)
    assert validate(sample) == []
    assert sample.labels == record.labels
    assert sample.modalities == VISUAL
    whole = np.asarray(open_image(path.read_bytes(), "strip"))
    assert whole.shape == (128, 768, 3)
    for i, modality in enumerate(VISUAL):
        image = sample.images[modality]
        assert (image.width, image.height, image.origin) == (256, 128, "captured")
        np.testing.assert_array_equal(decode_rgb(image.image, "third"), whole[:, 256 * i : 256 * (i + 1)])


def test_a_grey_strip_is_cut_too(root: Path) -> None:
    write(root, "query", "0600_c0003_000.jpg", strip()[..., 0])
    (record,) = [r for r in read(root) if r.labels.pid == 600]
    sample = reader(root).load(record, LIMIT)
    assert [(i.width, i.height) for i in sample.images.values()] == [(4, 4)] * 3


def test_equal_strips_have_equal_content_hashes_and_others_not(root: Path) -> None:
    write(root, "query", "0600_c0003_000.jpg", strip(seed=7))
    hashes = {r.labels.sample_id: reader(root).load(r, LIMIT).content_hash for r in read(root)}
    assert hashes["query/0561_c0001_006"] == hashes["bounding_box_test/0561_c0001_006"] is not None
    assert hashes["query/0600_c0003_000"] != hashes["query/0561_c0001_006"]


@pytest.mark.parametrize("width", [13, 256])
def test_a_picture_that_has_no_three_thirds_is_refused_by_name(root: Path, width: int) -> None:
    path = write(root, "query", "0600_c0003_000.jpg", strip(width))
    (record,) = [r for r in read(root) if r.labels.pid == 600]
    with pytest.raises(DataError, match=rf"{path}: {width}x4 is no strip of three"):
        reader(root).load(record, LIMIT)


def test_a_strip_that_cannot_be_read_is_named(root: Path) -> None:
    path = root / "rgbir" / "query" / QUERY[0]
    (record,) = [r for r in read(root) if r.labels.roles == ("query",)]
    with pytest.raises(DataError, match=rf"{path}: 12x4 exceeds"):
        reader(root).load(record, 47)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{path}: truncated or corrupt"):
        reader(root).load(record, LIMIT)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{path}: empty file"):
        reader(root).load(record, LIMIT)
    path.unlink()
    with pytest.raises(StorageError, match=rf"{path}: no such file"):
        reader(root).load(record, LIMIT)


def test_a_rewritten_strip_changes_the_key_and_its_neighbours_stay(root: Path) -> None:
    before = [reader(root).key(r) for r in read(root)]
    write(root, "query", QUERY[0], strip(24))
    after = [reader(root).key(r) for r in read(root)]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, False, True, True]


@pytest.mark.parametrize("name", ["car.jpg", "0561.jpg", "0561_cX_006.jpg", "0561_c0000_006.jpg", "x_c1.jpg"])
def test_a_name_that_says_nothing_is_set_aside(root: Path, name: str) -> None:
    path = write(root, "query", name)
    (bad,) = [r for r in read(root) if r.problem]
    assert (bad.problem or "").startswith(f"{path}: ")
    assert "rename or remove" in (bad.problem or "")
    with pytest.raises(DataError, match="rename or remove"):
        reader(root).load(bad, LIMIT)


def test_other_files_are_passed_over(root: Path) -> None:
    for name in ("Thumbs.db", "._0561_c0001_006.jpg", "list.txt"):
        (root / "rgbir" / "query" / name).write_text("x")
    assert len(read(root)) == 5


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)rgbir/bounding_box_train/\*\.jpg"):
        read(tmp_path / "nowhere")


def test_a_missing_folder_shows_what_is_there_instead(root: Path) -> None:
    shutil.move(root / "rgbir" / "query", root / "rgbir" / "queries")
    found = "bounding_box_test/, bounding_box_train/, queries/"
    with pytest.raises(DataError, match=rf"rgbir/query is missing\. Found in .*: {found}\.(?s:.*)Expected"):
        read(root)


def test_a_folder_without_strips_is_refused(root: Path) -> None:
    for name in QUERY:
        (root / "rgbir" / "query" / name).rename(root / "rgbir" / "query" / f"{name}.png")
    with pytest.raises(DataError, match=r"query: no \.jpg file\. Found in it: 0561_c0001_006\.jpg\.png\."):
        read(root)
