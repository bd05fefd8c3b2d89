"""docs/write-a-reader.md: its file reads a folder of its layout into a shard set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from reid.config import Config, load
from reid.data.readers.base import open_reader
from reid.doctor.data.layout import Match, recognise
from reid.errors import ConfigError, DataError
from reid.modality import Modality
from tests.support.pages import added_to, block
from tests.support.sets.photos import build_here, rows_of
from tests.support.tiny_configs import config_of

GOOD = {
    "train": ["door1/0007_1", "door2/0007_1", "door1/0008_1", "door2/0008_1"],
    "test": ["door1/0012_4", "door2/0012_1"],
}
"""Door 2 has near-infrared pictures, too."""
MISNAMED = "train/door1/seven.png"


@pytest.fixture(autouse=True)
def _doors(tmp_path: Path) -> Iterator[None]:
    """The page's file, as if it lay in reid/data/readers."""
    source = block("write-a-reader.md", "python")
    with added_to("reid.data.readers", tmp_path / "readers", "doors.py", source):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the page's layout, with one misnamed file."""
    root = tmp_path / "doors"
    names = [f"{split}/{name}.png" for split, found in GOOD.items() for name in found]
    names += [n.replace(".png", ".nir.png") for n in names if "door2" in n]
    for shade, name in enumerate([*names, MISNAMED]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 32), (10 * shade, 90, 200)).save(root / name)
    return root


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Config:
    return config_of(
        tmp_path / "work",
        "data.name=doors",
        f"data.reader={{name: doors, path: '{folder}'}}",
        "data.modalities=rgb+nir",
        "build.generate={}",
        "build.max_bad_fraction=0.5",
    )


def test_a_set_is_built_and_holds_every_picture_with_its_labels(settings: Config) -> None:
    shards = build_here(settings).shards
    rows = {s.labels.sample_id: s for split in GOOD for s in rows_of(shards, split)}
    assert sorted(rows) == sorted(
        f"{split}/{name.removeprefix('door')}.png" for split, found in GOOD.items() for name in found
    )
    one = rows["train/2/0007_1.png"]
    assert (one.labels.split, one.labels.pid, one.labels.camid) == ("train", 7, 2)
    assert set(one.images) == {Modality.RGB, Modality.NIR}
    assert set(rows["test/1/0012_4.png"].images) == {Modality.RGB}


def test_a_misnamed_file_is_set_aside_with_its_reason(settings: Config) -> None:
    (bad,) = build_here(settings).shards.quarantine()
    assert "seven.png" in bad["sample_id"] and "rename the file" in bad["reason"]


def test_a_folder_of_another_layout_is_told_with_what_was_expected_and_found(
    settings: Config, folder: Path
) -> None:
    for split in GOOD:
        (folder / split).rename(folder / f"my-{split}")
    reader = open_reader(settings.data.reader, "doors")
    with pytest.raises(
        DataError, match=r"Found in it: my-test/, my-train/\.\nExpected <path>/\{train,test\}"
    ):
        reader.records()


def test_a_wrong_field_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.reader\.pth: unknown key\. Did you mean 'path'"):
        config_of(tmp_path, "data.reader={name: doors, pth: x}")


def test_the_doctor_recognises_the_layout(folder: Path) -> None:
    found = recognise(str(folder), only="doors")
    assert isinstance(found, Match) and found.name == "doors"
    assert load(found.config.model_dump(mode="json")).data.reader.name == "doors"
