"""RGBNT201 as published: names, splits, roles, missing counterparts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.data.readers.base import Record
from reid.data.readers.rgbnt201 import Config, Reader
from reid.data.shards.schema import validate
from reid.errors import DataError
from reid.modality import Modality

ALL = ("RGB", "NI", "TI")
TRAIN = ("000001_cam1_0_00.jpg", "000258_cam4_1_02.jpg")
TEST = ("000028_cam1_0_02.jpg", "000028_cam2_0_00.jpg")


def write(root: Path, folder: str, name: str, kinds: tuple[str, ...] = ALL) -> None:
    for kind in kinds:
        path = root / folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 4, 3), 10 * len(kind), np.uint8)).save(path, "JPEG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in reversed(TRAIN):
        write(tmp_path, "train_171", name)
    for name in TEST:
        write(tmp_path, "test", name)
    return tmp_path


def read(root: Path) -> list[Record]:
    return list(Reader(Config(path=str(root)), "rgbnt201").records())


def test_names_give_pid_and_camera_and_folders_the_split(root: Path) -> None:
    labels = [r.labels for r in read(root)]
    assert [(v.sample_id, v.split, v.pid, v.camid) for v in labels] == [
        ("train_171/000001_cam1_0_00", "train", 1, 0),
        ("train_171/000258_cam4_1_02", "train", 258, 3),
        ("test/000028_cam1_0_02", "test", 28, 0),
        ("test/000028_cam2_0_00", "test", 28, 1),
    ]


def test_test_pictures_are_query_and_gallery_and_training_pictures_neither(root: Path) -> None:
    roles = {(r.labels.split, r.labels.roles) for r in read(root)}
    assert roles == {("train", None), ("test", ("query", "gallery"))}


def test_the_three_files_of_a_name_are_one_sample(root: Path) -> None:
    record = read(root)[0]
    assert {m: uri.removeprefix(f"{root}/") for m, uri in record.images.items()} == {
        Modality.RGB: f"train_171/RGB/{TRAIN[0]}",
        Modality.NIR: f"train_171/NI/{TRAIN[0]}",
        Modality.TIR: f"train_171/TI/{TRAIN[0]}",
    }
    sample = Reader(Config(path=str(root)), "rgbnt201").load(record, 1000)
    assert validate(sample) == []
    assert sample.modalities == (Modality.RGB, Modality.NIR, Modality.TIR)


@pytest.mark.parametrize(
    ("there", "modalities"),
    [
        (("RGB",), [Modality.RGB]),
        (("RGB", "TI"), [Modality.RGB, Modality.TIR]),
        (("NI",), [Modality.NIR]),
    ],
)
def test_a_missing_counterpart_leaves_the_modalities_that_are_there(
    root: Path, there: tuple[str, ...], modalities: list[Modality]
) -> None:
    write(root, "test", "000030_cam1_0_00.jpg", there)
    record = read(root)[-1]
    assert (record.labels.pid, [*record.images], record.problem) == (30, modalities, None)


@pytest.mark.parametrize("name", ["person.jpg", "00028_cam1_0.jpg", "000028_camX_0.jpg", "000028_cam0_1.jpg"])
def test_a_name_that_says_nothing_is_set_aside(root: Path, name: str) -> None:
    write(root, "test", name)
    (bad,) = [r for r in read(root) if r.problem]
    assert name in (bad.problem or "")
    assert "rename or remove" in (bad.problem or "")


def test_other_files_are_passed_over(root: Path) -> None:
    for name in ("Thumbs.db", "._000028_cam1_0_02.jpg", "list.txt"):
        (root / "test" / "RGB" / name).write_text("x")
    assert len(read(root)) == 4


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)train_171/\{RGB,NI,TI\}"):
        read(tmp_path / "nowhere")


def test_a_missing_folder_shows_what_is_there_instead(root: Path) -> None:
    shutil.move(root / "test" / "TI", root / "test" / "thermal")
    with pytest.raises(DataError, match=r"test/TI is missing.*NI/, RGB/, thermal/(?s:.*)Expected"):
        read(root)
    with pytest.raises(DataError, match=r"train_171/RGB is missing.*Found in .*: NI/, RGB/, thermal/"):
        read(root / "test")


def test_a_split_without_pictures_is_refused(root: Path) -> None:
    for kind in ALL:
        shutil.rmtree(root / "test" / kind)
        (root / "test" / kind).mkdir()
    with pytest.raises(DataError, match=r"test: no \.jpg file"):
        read(root)
