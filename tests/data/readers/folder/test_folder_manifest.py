"""CSV manifests: which rows become a sample, which are set aside, and what is refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.readers.base import Reader, Record, open_reader
from reid.data.readers.folder import Config
from reid.data.shards.schema import validate
from reid.errors import DataError
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


def manifest(root: Path, *lines: str, header: str = "file,pid,camid,split") -> str:
    root.mkdir(parents=True, exist_ok=True)
    (root / "list.csv").write_text("\n".join([header, *lines]) + "\n")
    return "list.csv"


def test_a_manifest_gives_labels_and_keeps_other_columns(tmp_path: Path) -> None:
    picture(tmp_path / "x/1.jpg")
    picture(tmp_path / "x/2.jpg")
    listed = manifest(
        tmp_path,
        'x/2.jpg,5,1,test,"shelf, left"',
        "./x/1.jpg,4,,train,",
        header="file,pid,camid,split,place",
    )
    first, second = (r.labels for r in read(tmp_path, manifest=listed).values())
    assert (first.sample_id, first.pid, first.camid, first.split) == ("x/1.jpg", 4, None, "train")
    assert (second.sample_id, second.pid, second.camid, second.split) == ("x/2.jpg", 5, 1, "test")
    assert (first.extra, second.extra) == ({}, {"place": "shelf, left"})


def test_a_row_naming_a_missing_file_is_set_aside_with_its_line(tmp_path: Path) -> None:
    picture(tmp_path / "here.jpg")
    listed = manifest(tmp_path, "here.jpg,1,0,train", "", "gone.jpg,1,0,train")
    records = read(tmp_path, manifest=listed)
    assert records["here.jpg"].problem is None
    problem = records["gone.jpg"].problem or ""
    assert "list.csv line 4" in problem
    assert str(tmp_path / "gone.jpg") in problem
    assert "restore the file or remove the row" in problem
    with pytest.raises(DataError, match="line 4"):
        reader(tmp_path, manifest=listed).load(records["gone.jpg"], LIMIT)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,,0,train,rgb", "has no identity"),
        ("a.jpg,-1,0,train,rgb", "numbered from 0"),
        ("a.jpg,1,0,trian,rgb", "split 'trian'.*data.reader.roles"),
        ("a.jpg,1,0,,rgb", "neither a split nor a role"),
        ("a.jpg,1,0,train,xray", "modality 'xray'.*data.reader.modality_names"),
        ("a.jpg,1,0,train,text", "caption column"),
        ("a.jpg,1,0,train,rgb,more", "more cells than the header"),
        (",1,0,train,rgb", "neither a file nor a caption"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, row: str, message: str) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    header = "file,pid,camid,split,modality"
    listed = manifest(tmp_path, "b.jpg,2,0,train,rgb", row, header=header)
    records = read(tmp_path, manifest=listed)
    assert records.pop("b.jpg").problem is None
    ((problem),) = (r.problem or "" for r in records.values())
    assert "list.csv line 3" in problem
    assert re.search(message, problem), problem


def test_rows_of_one_capture_are_one_sample(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    listed = manifest(
        tmp_path,
        "a.jpg,1,query,rgb,k1,a red hat",
        "b.jpg,1,gallery,nir,k1,",
        ",1,query,text,k1,and a scarf",
        header="file,pid,role,modality,capture,caption",
    )
    (record,) = read(tmp_path, manifest=listed).values()
    assert record.labels.sample_id == "k1"
    assert record.labels.roles == ("query", "gallery")
    assert [*record.images] == [Modality.RGB, Modality.NIR]
    assert record.captions == ("a red hat", "and a scarf")


def test_one_file_on_several_rows_collects_their_captions(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = ("a.jpg,1,train,one", "a.jpg,1,train,two", "a.jpg,1,train,one")
    listed = manifest(tmp_path, *rows, header="file,pid,split,caption")
    (record,) = read(tmp_path, manifest=listed).values()
    assert (record.captions, record.problem) == (("one", "two"), None)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("b.jpg,2,0,train,nir,k", "more than one identity"),
        ("b.jpg,1,1,train,nir,k", "more than one camera"),
        ("b.jpg,1,0,test,nir,k", "more than one split"),
        ("b.jpg,1,0,train,rgb,k", "two rgb files"),
    ],
)
def test_contradicting_rows_set_the_capture_aside(tmp_path: Path, second: str, message: str) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    header = "file,pid,camid,split,modality,capture"
    listed = manifest(tmp_path, "a.jpg,1,0,train,rgb,k", second, header=header)
    (record,) = read(tmp_path, manifest=listed).values()
    assert message in (record.problem or "")
    assert "line 2 and list.csv line 3" in (record.problem or "")


def test_own_column_names(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    listed = manifest(tmp_path, "a.jpg,3,2", header="Image,Person,Camera")
    columns = {"file": "Image", "pid": "Person", "camid": "Camera"}
    (record,) = read(tmp_path, manifest=listed, columns=columns).values()
    assert (record.labels.pid, record.labels.camid) == (3, 2)


def test_a_section_that_was_dumped_and_read_again_is_the_same_section(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    section = Config(path=str(tmp_path), manifest=manifest(tmp_path, "a.jpg,3", header="file,pid"))
    again = Config.model_validate(section.model_dump(mode="json"))
    assert again == section
    assert open_reader(again, "own").records() == open_reader(section, "own").records()


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("path,pid", {}, "column.*file missing; found: path, pid"),
        ("file,pid", {"camid": "camera"}, "column.*camera missing"),
        ("", {}, "column.*file, pid missing; found: nothing"),
    ],
)
def test_a_missing_column_is_refused(
    tmp_path: Path, header: str, columns: dict[str, str], message: str
) -> None:
    listed = manifest(tmp_path, "a.jpg,3", header=header) if header else "list.csv"
    if not header:
        (tmp_path / listed).write_text("")
    with pytest.raises(DataError, match=message):
        read(tmp_path, manifest=listed, columns=columns)


def test_a_missing_empty_or_binary_manifest_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"manifest: no such file(?s:.*)Found: a\.jpg"):
        read(tmp_path, manifest="list.csv")
    with pytest.raises(DataError, match="only a header, no row below line 1"):
        read(tmp_path, manifest=manifest(tmp_path))
    with pytest.raises(DataError, match=r"a\.jpg: not a text file"):
        read(tmp_path, manifest="a.jpg")


def test_without_a_split_column_identities_are_divided(tmp_path: Path) -> None:
    for pid in range(4):
        picture(tmp_path / f"{pid}.jpg")
    rows = [f"{pid}.jpg,{pid}" for pid in range(4)]
    records = read(tmp_path, manifest=manifest(tmp_path, *rows, header="file,pid"))
    assert Counter(r.labels.split for r in records.values()) == {"train": 2, "test": 2}


def test_the_grocery_set_loads_as_a_closed_set(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROCERY", str(data_root / "grocery"))
    fields = {
        "manifest": "manifest.csv",
        "texts": "texts.json",
        "roles": {"iconic": {"split": "test", "roles": ["query"], "modality": "sketch"}},
    }
    records = read("${GROCERY}", **fields)
    kinds = Counter((r.labels.split, r.labels.roles, *r.images, r.labels.camid) for r in records.values())
    assert kinds == {
        ("train", None, Modality.RGB, 0): 720,
        ("test", ("gallery",), Modality.RGB, 0): 480,
        ("test", ("query",), Modality.RGB, 1): 240,
        ("test", ("query",), Modality.SKETCH, 2): 60,
    }
    by_split = {
        split: {r.labels.pid for r in records.values() if r.labels.split == split}
        for split in ("train", "test")
    }
    assert by_split["train"] == by_split["test"]
    assert len(by_split["train"]) == 60
    assert all(len(r.captions) == 1 and r.problem is None for r in records.values())
    source = reader("${GROCERY}", **fields)
    for name in ("images/000_c0_t00.jpg", "images/000_c2_iconic.jpg"):
        sample = source.load(records[name], LIMIT)
        assert validate(sample) == []
        (image,) = sample.images.values()
        assert str(image.width) == records[name].labels.extra["width"]
    assert records["images/000_c0_t00.jpg"].labels.extra["name"] == "Golden-Delicious"
