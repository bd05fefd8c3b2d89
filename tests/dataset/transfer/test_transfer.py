"""A set becomes a tree of plain files, and the tree the same set again."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from pipelines.dataset.build import build
from reid import storage
from reid.config import Config, load
from reid.data.images import encode_mask
from reid.data.readers.shared.sample_tree import safe, stem, suffix_of
from reid.data.shards.schema import Caption, Image, Mask, Sample, SampleAttribute
from reid.data.shards.shard_set import ShardSet
from reid.dataset.stages.running import run_here
from reid.dataset.transfer.export import export
from reid.dataset.transfer.names import Names
from reid.errors import DataError, StorageError
from reid.modality import Modality
from tests.support.replace_storage import replace_storage
from tests.support.sets.shards import file_bytes, make_sample, make_shards
from tests.support.tiny_configs import silent


def rows_of(shards: ShardSet) -> dict[str, Sample]:
    return {
        s.labels.sample_id: s
        for split in ("train", "val", "test")
        for group in shards.groups(split)
        for s in shards.read_group(group)
    }


def config(reader: dict[str, Any], at: Path) -> Config:
    return load(
        {
            "name": "made",
            "workdir": str(at.parent),
            "data": {"name": "made", "reader": reader, "shards": str(at), "modalities": "rgb+text"},
            "build": {"rows_per_shard": 3, "rows_per_group": 2},
            "model": {"name": "baseline", "fusion": "mean"},
        }
    )


def imported(tree: Path, at: Path) -> ShardSet:
    return build(config({"name": "exported", "path": str(tree)}, at), out=silent, run=run_here).shards


def coloured(pid: int, kind: str = "PNG", **options: Any) -> bytes:
    return file_bytes(PILImage.fromarray(np.full((8, 6, 3), 20 * pid, np.uint8)), kind, **options)


def everything() -> list[Sample]:
    """Each kind of part, label and odd name that a set can hold."""
    made = {"origin": "generated", "generator": "x", "params_hash": "abc123"}
    one = make_sample(0, camid=1, viewid=2, location="gate", timestamp=12.5, tracklet_id="t/1")
    labels = replace(
        one.labels,
        sample_id="train/0/a.jpg",
        attributes=(SampleAttribute("hat", "réd", 0.1, "RGB"), SampleAttribute("bag", "none")),
        extra={"shelf": "left, right", "": "empty"},
    )
    full = Sample(
        labels,
        {
            Modality.RGB: Image(coloured(1, "JPEG"), 6, 8),
            Modality.NIR: Image(coloured(2, "WEBP", lossless=True), 6, 8),
            Modality.TIR: Image(coloured(3), 6, 8, **made, source_id="train/0/a.jpg"),
            Modality.SKETCH: Image(coloured(4), 6, 8, **made, source_id="another"),
        },
        (
            Caption("naïve\u2028two lines", 0.3, **made, source_id="train/0/a.jpg"),
            Caption('He said "hat"'),
        ),
        Mask(encode_mask(np.eye(8) > 0), 0.7, **made, source_id="train/0/a.jpg"),
        "0123abcd",
    )
    said = replace(make_sample(1, 0, ()), captions=(Caption("only words"),))
    same_stem = [
        replace(make_sample(2, n), labels=replace(make_sample(2, n).labels, sample_id=name))
        for n, name in enumerate(
            ("x/same.jpg", "x/same.png", "x/SAME", "../up", "/abs:olute", ".hid/__a", "ü?")
        )
    ]
    test = make_sample(3, split="test", roles=("query", "gallery"))
    unhashed = make_sample(4, split="val")
    return [full, said, *same_stem, test, unhashed]


def in_shards(at: Path, samples: list[Sample]) -> ShardSet:
    by_split = {s: [x for x in samples if x.labels.split == s] for s in ("train", "val", "test")}
    return make_shards(at, [rows for rows in by_split.values() if rows], rows_per_group=2)


def files(tree: Path) -> set[str]:
    return {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()}


def test_export_and_import_give_the_same_samples(tmp_path: Path) -> None:
    shards = in_shards(tmp_path / "a", everything())
    export(shards, str(tmp_path / "tree"))
    again = rows_of(imported(tmp_path / "tree", tmp_path / "b"))
    before = rows_of(shards)
    assert set(again) == set(before)
    for name, sample in before.items():
        assert again[name] == sample, name


def test_build_export_import_build_gives_the_same_samples(tmp_path: Path) -> None:
    rendered = {
        "name": "synthetic",
        "modalities": "rgb+nir+tir+text",
        "train_identities": 3,
        "test_identities": 2,
        "cameras": 2,
        "captures": 1,
        "height": 32,
        "width": 32,
    }
    settings = config(rendered, tmp_path / "a")
    tree = settings.model_dump(mode="json")
    tree["build"]["generate"] = {"sketch": {"generator": "sketch_dodge"}}
    first = build(load(tree), out=silent, run=run_here).shards
    export(first, str(tmp_path / "tree"))
    second = imported(tmp_path / "tree", tmp_path / "b")
    assert rows_of(second) == rows_of(first)
    export(second, str(tmp_path / "tree2"))
    assert files(tmp_path / "tree2") == files(tmp_path / "tree")
    lines = [json.loads(x) for x in (tmp_path / "tree" / "manifest.jsonl").read_text().splitlines()]
    sketch = next(x for x in lines if x["modality"] == "sketch")
    assert sketch["synthetic"] is True and sketch["generator"] == "sketch_dodge" and sketch["seed"] == 0
    assert sketch["version"] and sketch["params_hash"]
    assert sketch["source_rel_path"] == sketch["rel_path"].replace("imgs-sketch", "imgs")


def test_the_tree_is_what_other_tools_look_for(tmp_path: Path) -> None:
    result = export(in_shards(tmp_path / "a", everything()), str(tmp_path / "tree"))
    tree = tmp_path / "tree"
    assert (result.rows, result.copied, result.splits) == (11, 11, ("train", "val", "test"))
    assert {
        "imgs/train/0/a.jpg",
        "imgs-nir/train/0/a.webp",
        "imgs-tir/train/0/a.png",
        "imgs-sketch/train/0/a.png",
        "masks/train/0/a.png",
        "captions.json",
        "manifest.jsonl",
        "train_attrs.json",
        *(f"text/train_{name}.json" for name in ("RGB", "NI", "TI", "ALL")),
    } <= files(tree)
    assert not any(name.startswith(".export") for name in files(tree)), "parts are gone"
    told = json.loads((tree / "text/train_NI.json").read_text())
    assert told == [{"item": "train/0/a.webp", "description": 'He said "hat"'}], "captured before generated"
    captions = json.loads((tree / "captions.json").read_text())
    assert captions["imgs/train/0/a.jpg"][1]["text"] == 'He said "hat"'
    assert captions["p1-0"][0]["text"] == "only words"
    (attributes,) = json.loads((tree / "train_attrs.json").read_text())
    assert attributes["item"] == "train/0/a.jpg" and attributes["attributes"][0]["source"] == "RGB"
    for file in tree.glob("imgs*/**/*"):
        if file.is_file():
            kind = PILImage.open(io.BytesIO(file.read_bytes())).format
            assert kind is not None and {"jpg": "JPEG"}.get(file.suffix[1:], file.suffix[1:].upper()) == kind


def test_paths_are_unique_and_stay_below_the_folder(tmp_path: Path) -> None:
    shards = in_shards(tmp_path / "a", everything())
    names = Names.of(shards, ("train", "val", "test"))
    paths = [names.path(s) for s in rows_of(shards).values()]
    assert len({p.casefold() for p in paths}) == len(paths)
    for path in paths:
        assert not path.startswith(("/", ".")) and ".." not in path.split("/")
    assert names.path(rows_of(shards)["train/0/a.jpg"]) == "train/0/a"
    assert [safe(x) for x in ("", "..", "a\\b", "v1.2", "日本.jpg")] == [
        "_",
        "%2E%2E",
        "a%5Cb",
        "v1.2",
        "日本",
    ]
    assert len(safe("x" * 900).encode()) < 250
    assert [stem(x) for x in ("a/b.JPG", "a/.png", "a.b/c")] == ["a/b", "a/.png", "a.b/c"]
    assert suffix_of(b"II*\0") == "tif" and suffix_of(b"?") == "png"


def test_one_split_can_be_exported(tmp_path: Path) -> None:
    shards = in_shards(tmp_path / "a", everything())
    assert export(shards, str(tmp_path / "tree"), ["test"]).rows == 1
    assert "text/train_ALL.json" not in files(tmp_path / "tree")
    with pytest.raises(DataError, match="no row in the splits val"):
        export(make_shards(tmp_path / "c", [[make_sample(0)]]), str(tmp_path / "t2"), ["val"])


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ShardSet, Path]:
    """An export that was killed in its second shard."""
    shards = in_shards(tmp_path / "a", everything())
    write = storage.write_bytes

    def failing(uri: str, data: bytes) -> None:
        if "/imgs/p4-0" in uri:
            raise StorageError(f"{uri}: pulled the plug")
        write(uri, data)

    with monkeypatch.context() as patch:
        replace_storage(patch, "write_bytes", failing)
        with pytest.raises(StorageError, match="plug"):
            export(shards, str(tmp_path / "tree"))
    return shards, tmp_path / "tree"


def test_a_stopped_export_goes_on_after_the_last_finished_shard(
    stopped: tuple[ShardSet, Path], tmp_path: Path
) -> None:
    shards, tree = stopped
    assert "manifest.jsonl" not in files(tree)
    before = (tree / "imgs/train/0/a.jpg").stat().st_mtime_ns
    watched: list[int] = []
    result = export(shards, str(tree), watch=watched.append)
    assert (result.rows, result.copied) == (11, 2)
    assert sum(watched) == 11
    assert (tree / "imgs/train/0/a.jpg").stat().st_mtime_ns == before
    assert rows_of(imported(tree, tmp_path / "b")) == rows_of(shards)
    assert export(shards, str(tree)).copied == 0, "complete: nothing to do"


def test_a_stopped_export_is_not_imported(stopped: tuple[ShardSet, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was stopped; run the same `python -m jobs\.build export` again"):
        imported(stopped[1], tmp_path / "b")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    shards = in_shards(tmp_path / "a", everything())
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"not empty and holds no export \(thesis\.tex\)"):
        export(shards, str(tmp_path / "tree"))
    assert files(tmp_path / "tree") == {"thesis.tex"}
    export(shards, str(tmp_path / "other"))
    other = make_shards(tmp_path / "c", [[make_sample(0)]], fingerprint="g")
    with pytest.raises(
        DataError, match=r"holds an export of another set \(made f, splits train, val, test\)"
    ):
        export(other, str(tmp_path / "other"))
    with pytest.raises(DataError, match="another set"):
        export(shards, str(tmp_path / "other"), ["train"])
