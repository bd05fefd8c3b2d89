"""Folder trees with pictures of other modalities, masks and sentences beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.images import is_one_bit_png
from reid.data.readers.base import Reader, Record, open_reader
from reid.errors import DataError
from reid.modality import Modality

LIMIT = 1_000_000


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 4), value, np.uint8)).save(path)


def reader(path: Path, **fields: Any) -> Reader:
    section = {"name": "folder", "path": str(path), **fields}
    return open_reader(TypeAdapter(ReaderSection).validate_python(section), "own")


def read(path: Path, **fields: Any) -> dict[str, Record]:
    return {r.labels.sample_id: r for r in reader(path, **fields).records()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for file in ("imgs/train/1/a.jpg", "imgs/train/1/b.jpg", "imgs/query/2/a.png"):
        picture(tmp_path / file)
    for folder in ("imgs-sketch", "imgs-ir", "imgs-tir", "masks"):
        picture(tmp_path / folder / "train/1/a.png", 255)
    return tmp_path


def test_folders_beside_imgs_hold_the_same_paths(tree: Path) -> None:
    records = read(tree)
    assert set(records) == {"train/1/a", "train/1/b", "query/2/a"}
    assert [*records["train/1/a"].images] == [Modality.RGB, Modality.NIR, Modality.TIR, Modality.SKETCH]
    assert (records["train/1/a"].mask or "").endswith("masks/train/1/a.png")
    assert [*records["train/1/b"].images] == [Modality.RGB]
    assert records["train/1/b"].mask is None
    assert records["query/2/a"].labels.roles == ("query",)
    assert all(r.problem is None for r in records.values())


def test_a_mask_is_read_as_one_bit(tree: Path) -> None:
    source = reader(tree)
    sample = source.load(read(tree)["train/1/a"], LIMIT)
    assert sample.mask is not None and is_one_bit_png(sample.mask.image)


def test_imgs_ir_is_the_infrared_that_the_reader_is_told(tree: Path) -> None:
    (tree / "imgs-tir" / "train" / "1" / "a.png").unlink()
    records = read(tree, infrared="tir")
    assert [*records["train/1/a"].images] == [Modality.RGB, Modality.TIR, Modality.SKETCH]
    assert "imgs-ir" in records["train/1/a"].images[Modality.TIR]


def test_what_a_tool_made_is_labelled_as_made_from_its_own_picture(tree: Path) -> None:
    source = reader(tree, generated=["sketch", "mask"])
    sample = source.load(read(tree)["train/1/a"], LIMIT)
    sketch = sample.images[Modality.SKETCH]
    assert (sketch.origin, sketch.generator, sketch.source_id) == ("generated", "imported", "train/1/a")
    assert sample.mask is not None and sample.mask.origin == "generated"
    assert sample.images[Modality.RGB].origin == "captured"


def test_captions_are_found_by_path(tree: Path) -> None:
    said = {"imgs/train/1/a.jpg": ["a red hat", {"text": "and a scarf"}], "train/1/b.jpg": "a hat"}
    (tree / "captions.json").write_text(json.dumps(said))
    records = read(tree)
    assert records["train/1/a"].captions == ("a red hat", "and a scarf")
    assert records["train/1/b"].captions == ("a hat",)
    assert records["query/2/a"].captions == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"x/y.jpg": "a"}, r"none of its 1 paths .*'x/y\.jpg'"),
        ({"train/1/a.jpg": [3]}, "has no text"),
        (["a"], "found list"),
    ],
)
def test_captions_that_do_not_fit_are_refused(tree: Path, said: Any, message: str) -> None:
    (tree / "captions.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=rf"captions\.json.*{message}"):
        read(tree)


def test_a_mask_of_no_picture_is_set_aside(tree: Path) -> None:
    picture(tree / "masks/train/1/z.png")
    problem = read(tree)["masks/train/1/z"].problem or ""
    assert "masks/train/1/z.png: a mask without a picture" in problem and "rename or remove" in problem


def test_a_manifest_may_name_masks(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "m.png")
    (tmp_path / "list.csv").write_text(
        "file,pid,split,modality,capture\na.jpg,1,train,rgb,k\nm.png,1,train,mask,k\nm.png,1,train,mask,\n"
    )
    records = read(tmp_path, manifest="list.csv")
    assert records["k"].problem is None
    assert [*records["k"].images] == [Modality.RGB] and (records["k"].mask or "").endswith("m.png")
    assert "line 4" in (records["m.png"].problem or "") and "fill its capture" in (
        records["m.png"].problem or ""
    )


@pytest.mark.parametrize(
    ("files", "sample"),
    [
        (("1/rgb_5.png", "1/nir_5.png"), "1/5"),
        (("1/5/rgb.png", "1/5/nir.png"), "1/5"),
        (("1/RGB.png", "1/NIR.png"), "1"),
    ],
)
def test_a_modality_may_come_first_or_alone(tmp_path: Path, files: tuple[str, ...], sample: str) -> None:
    for file in files:
        picture(tmp_path / file)
    (record,) = read(tmp_path).values()
    assert record.labels.sample_id == sample
    assert [*record.images] == [Modality.RGB, Modality.NIR]


def test_a_file_named_text_is_a_picture_all_the_same(tmp_path: Path) -> None:
    picture(tmp_path / "1" / "text_5.png")
    (record,) = read(tmp_path).values()
    assert [*record.images] == [Modality.RGB]


def test_configured_names_outweigh_ours(tmp_path: Path) -> None:
    for file in ("1/RGB_5.png", "1/VIS_5.png", "1/NIR_5.png"):
        picture(tmp_path / file)
    records = read(tmp_path, modality_names={"VIS": "rgb"})
    assert {k: [Path(u).name for u in r.images.values()] for k, r in records.items()} == {
        "1/5": ["VIS_5.png", "NIR_5.png"],
        "1/RGB_5.png": ["RGB_5.png"],
    }


def test_the_tno_scenes_are_captures_of_three_cameras_and_some_photos(data_root: Path) -> None:
    records = read(data_root / "tno", modality_names={"VIS": "rgb", "LWIR": "tir"})
    scenes = {k: r for k, r in records.items() if k.endswith("/000")}
    photos = {k: r for k, r in records.items() if k.endswith("RGB_000.png")}
    assert (len(scenes), len(photos), len(records)) == (8, 4, 12)
    assert all(r.problem is None for r in records.values())
    assert {tuple(r.images) for r in scenes.values()} == {(Modality.RGB, Modality.NIR, Modality.TIR)}
    assert {tuple(r.images) for r in photos.values()} == {(Modality.RGB,)}
    source = reader(data_root / "tno", modality_names={"VIS": "rgb", "LWIR": "tir"})
    sample = source.load(scenes["Marne_15/000"], LIMIT)
    assert {m.value: (i.width, i.height) for m, i in sample.images.items()} == {
        "rgb": (620, 450),
        "nir": (620, 460),
        "tir": (620, 460),
    }


def test_a_key_without_suffix_that_two_pictures_fit_is_refused(tmp_path: Path) -> None:
    for file in ("imgs/1/a.jpg", "imgs/1/a.png", "imgs-nir/1/a.jpg", "imgs/2/b.jpg", "imgs-nir/2/b.png"):
        picture(tmp_path / file)
    (tmp_path / "captions.json").write_text(json.dumps({"2/b": ["a coat"], "1/a.png": ["a hat"]}))
    assert [r.captions for r in read(tmp_path).values()] == [(), ("a hat",), ("a coat",)]
    (tmp_path / "captions.json").write_text(json.dumps({"1/a": ["a hat"]}))
    with pytest.raises(DataError, match=r"key '1/a' may mean '1/a\.jpg' or '1/a\.png'; give it the suffix"):
        read(tmp_path)


def test_half_a_character_in_a_sentence_is_refused_with_its_key(tmp_path: Path) -> None:
    picture(tmp_path / "imgs/1/a.jpg")
    (tmp_path / "captions.json").write_text(json.dumps({"1/a.jpg": ["a hat \ud83d"]}))
    with pytest.raises(DataError, match=r"captions\.json: '1/a\.jpg' has half a character.*\\ud83d"):
        read(tmp_path)


def test_parallel_folders_are_known_in_any_letter_case(tmp_path: Path) -> None:
    for file in ("Imgs/1/a.jpg", "IMGS-NIR/1/a.png", "Masks/1/a.png", "Imgs/2/b.jpg"):
        picture(tmp_path / file)
    records = read(tmp_path)
    assert [[*record.images] for record in records.values()] == [[Modality.RGB, Modality.NIR], [Modality.RGB]]
    assert records["1/a"].mask == str(tmp_path / "Masks/1/a.png")


def test_folders_beside_imgs_that_are_not_read_are_told(tmp_path: Path) -> None:
    for file in ("imgs/1/a.jpg", "imgs/2/b.jpg", "imgs-pose/1/a.png", "imgs_nir/1/a.png"):
        picture(tmp_path / file)
    (tmp_path / "tables").mkdir()
    own = reader(tmp_path)
    assert len(own.records()) == 2
    (note,) = own.notes
    assert "beside imgs that are not read: imgs-pose, imgs_nir; name them as one of imgs, imgs-nir" in note
