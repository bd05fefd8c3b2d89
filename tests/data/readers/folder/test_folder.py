"""Folder per identity: what the paths alone make a sample, set aside, or refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.readers.base import Reader, Record, open_reader
from reid.data.shards.schema import validate
from reid.errors import ConfigError, DataError
from reid.modality import Modality

LIMIT = 1_000_000


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 4, 3), 100, np.uint8)).save(path)


def reader(path: Path | str, **fields: Any) -> Reader:
    section = {"name": "folder", "path": str(path), **fields}
    return open_reader(TypeAdapter(ReaderSection).validate_python(section), "own")


def read(path: Path | str, **fields: Any) -> dict[str, Record]:
    records = reader(path, **fields).records()
    names = [r.labels.sample_id for r in records]
    assert names == sorted(set(names)), "sample ids are unique and sorted"
    return {r.labels.sample_id: r for r in records}


def test_split_folders_give_splits_and_roles(tmp_path: Path) -> None:
    for folder in ("train/7", "val/8", "query/9", "gallery/9"):
        picture(tmp_path / folder / "a.jpg")
    labels = {k: r.labels for k, r in read(tmp_path).items()}
    assert {k: (v.split, v.roles, v.pid) for k, v in labels.items()} == {
        "train/7/a": ("train", None, 7),
        "val/8/a": ("val", None, 8),
        "query/9/a": ("test", ("query",), 9),
        "gallery/9/a": ("test", ("gallery",), 9),
    }


def test_text_identities_are_numbered_in_sorted_order_and_keep_their_name(tmp_path: Path) -> None:
    for name in ("zoe", "10", "alice"):
        picture(tmp_path / name / "a.png")
    labels = [r.labels for r in read(tmp_path).values()]
    assert [(v.pid, v.extra["identity"]) for v in labels] == [(0, "10"), (1, "alice"), (2, "zoe")]


def test_numeric_identities_keep_their_numbers(tmp_path: Path) -> None:
    for name in ("0042", "0007"):
        picture(tmp_path / name / "a.png")
    assert [(r.labels.pid, r.labels.extra) for r in read(tmp_path).values()] == [(7, {}), (42, {})]


def test_two_folders_of_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("007", "7"):
        picture(tmp_path / name / "a.png")
    with pytest.raises(DataError, match="'007' and '7'"):
        read(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ("rgb/a.jpg", "nir/a.png", "sketch/a.jpg"),
        ("a.jpg", "a_nir.png", "a-sketch.jpg"),
        ("a_RGB.jpg", "NIR/a.jpg", "sketch/a_sketch.jpg"),
    ],
)
def test_aligned_names_of_several_modalities_are_one_capture(tmp_path: Path, files: tuple[str, ...]) -> None:
    for file in files:
        picture(tmp_path / "1" / file)
    (record,) = read(tmp_path).values()
    assert record.labels.sample_id == "1/a"
    assert list(record.images) == [Modality.RGB, Modality.NIR, Modality.SKETCH]
    assert [uri.removeprefix(f"{tmp_path}/1/") for uri in record.images.values()] == list(files)


def test_a_modality_folder_outweighs_a_suffix_that_contradicts_it(tmp_path: Path) -> None:
    picture(tmp_path / "1" / "nir" / "from_rgb.jpg")
    (record,) = read(tmp_path).values()
    assert (record.labels.sample_id, [*record.images]) == ("1/from_rgb", [Modality.NIR])


def test_own_modality_names_and_default_modality(tmp_path: Path) -> None:
    for file in ("VIS/a.png", "LWIR/a.png", "b.png"):
        picture(tmp_path / "1" / file)
    records = read(tmp_path, modality_names={"VIS": "rgb", "LWIR": "tir"}, modality="sketch")
    assert [*records["1/a"].images] == [Modality.RGB, Modality.TIR]
    assert [*records["1/b"].images] == [Modality.SKETCH]


def test_two_files_of_one_stem_and_modality_are_two_samples(tmp_path: Path) -> None:
    picture(tmp_path / "1" / "a.jpg")
    picture(tmp_path / "1" / "a.png")
    records = read(tmp_path)
    assert set(records) == {"1/a", "1/a.png"}
    assert records["1/a.png"].images[Modality.RGB].endswith("a.png")


def test_files_that_are_no_pictures_are_passed_over_and_broken_ones_fail_to_load(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "1" / "good.jpg")
    for name in ("notes.txt", "Thumbs.db", "._good.jpg", ".DS_Store"):
        (tmp_path / "1" / name).write_text("no picture")
    (tmp_path / "1" / "broken.jpg").write_text("no picture")
    (tmp_path / "__MACOSX").mkdir()
    records = read(tmp_path)
    assert set(records) == {"1/good", "1/broken"}
    source = reader(tmp_path)
    assert validate(source.load(records["1/good"], LIMIT)) == []
    with pytest.raises(DataError, match=r"broken\.jpg"):
        source.load(records["1/broken"], LIMIT)


def test_a_picture_outside_any_identity_is_set_aside(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "1" / "a.jpg")
    picture(tmp_path / "train" / "stray.jpg")
    records = read(tmp_path)
    assert records["train/1/a"].problem is None
    assert "move it into" in (records["train/stray.jpg"].problem or "")


def test_cameras_come_from_the_pattern(tmp_path: Path) -> None:
    for file in ("cam3/a.jpg", "cam12/a.jpg", "a.jpg"):
        picture(tmp_path / "1" / file)
    cameras = [r.labels.camid for r in read(tmp_path, camera_pattern=r"cam(\d+)/").values()]
    assert cameras == [None, 12, 3]


def test_named_cameras_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    for file in ("gate_1.jpg", "door_1.jpg"):
        picture(tmp_path / "1" / file)
    labels = [r.labels for r in read(tmp_path, camera_pattern=r"/(\w+)_\d").values()]
    assert [(v.camid, v.extra["camera"]) for v in labels] == [(0, "door"), (1, "gate")]


@pytest.mark.parametrize("pattern", ["cam[0-9]+", "cam("])
def test_a_camera_pattern_without_a_group_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="camera_pattern"):
        reader(tmp_path, camera_pattern=pattern)


def test_whole_identities_go_to_test_deterministically(tmp_path: Path) -> None:
    for pid in range(20):
        picture(tmp_path / str(pid) / "a.jpg")
        picture(tmp_path / str(pid) / "b.jpg")

    def tested(**fields: Any) -> set[int]:
        splits = {(r.labels.pid, r.labels.split) for r in read(tmp_path, **fields).values()}
        assert len(splits) == len({pid for pid, _ in splits}), "an identity lies in one split"
        return {pid for pid, split in splits if split == "test"}

    quarter = tested(test_fraction=0.25)
    assert len(quarter) == 5
    assert tested(test_fraction=0.25) == quarter
    assert tested(test_fraction=0.25, split_seed=1) != quarter
    assert tested(test_fraction=0.0) == set()
    assert len(tested(test_fraction=0.001)) == 1
    picture(tmp_path / "20" / "a.jpg")
    assert len(quarter - tested(test_fraction=0.25)) <= 1, "one more identity moves at most one"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "Found: nothing"),
        (("readme.txt",), r"Found: readme\.txt"),
        (("flat.jpg",), r"no picture in an identity folder.*Found: flat\.jpg"),
        (("train/1/a.jpg", "alice/a.jpg"), "split folders.*alice"),
    ],
)
def test_another_layout_is_refused_with_what_was_expected_and_found(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    for file in files:
        picture(tmp_path / file) if file.endswith("jpg") else (tmp_path / file).write_text("x")
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        read(tmp_path)
    assert "<path>/<identity>/<files>" in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder: .*nowhere(?s:.*)Expected"):
        read(tmp_path / "nowhere")


def test_the_path_may_hold_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "shop" / "1" / "a.jpg")
    with pytest.raises(DataError, match="environment variable OWN_PHOTOS"):
        read("${OWN_PHOTOS}/shop")
    monkeypatch.setenv("OWN_PHOTOS", str(tmp_path))
    assert set(read("${OWN_PHOTOS}/shop")) == {"1/a"}


def test_texts_describe_every_capture_of_an_identity(tmp_path: Path) -> None:
    for name in ("alice", "bob", "eve"):
        picture(tmp_path / name / "a.jpg")
    texts = {"alice": {"text": "a red hat"}, "bob": ["tall", "slow"], "stranger": "x"}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    records = read(tmp_path, texts="texts.json")
    said = {k: r.captions for k, r in records.items()}
    assert said == {"alice/a": ("a red hat",), "bob/a": ("tall", "slow"), "eve/a": ()}


@pytest.mark.parametrize(
    ("texts", "message"),
    [({"zed": "x"}, "none of its keys"), ({"1": {"txt": "x"}}, "'1' has no text"), ([], "none of")],
)
def test_texts_that_do_not_fit_are_refused(tmp_path: Path, texts: Any, message: str) -> None:
    picture(tmp_path / "1" / "a.jpg")
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    with pytest.raises(DataError, match=message):
        read(tmp_path, texts="texts.json")


def test_the_key_changes_when_a_file_is_rewritten(tmp_path: Path) -> None:
    picture(tmp_path / "1" / "a.png")
    source = reader(tmp_path)
    (record,) = source.records()
    before = source.key(record)
    assert source.key(record) == before
    Path(record.images[Modality.RGB]).write_bytes(b"another length")
    assert source.key(record) != before
