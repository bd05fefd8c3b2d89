"""The rendered set as a reader: numbering, keys, and what a rendered sample carries."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from reid import storage
from reid.data import synthetic as renderer
from reid.data.readers import synthetic
from reid.data.readers.synthetic import Config, Reader
from reid.data.shards.schema import decode, encode, validate
from reid.errors import DataError
from reid.modality import Modality, parse_subset

LIMIT = 1_000_000
SMALL: dict[str, Any] = {
    "train_identities": 3,
    "val_identities": 1,
    "test_identities": 2,
    "cameras": 2,
    "captures": 2,
    "height": 32,
    "width": 16,
}


def reader(**fields: Any) -> Reader:
    return Reader(Config(**{**SMALL, **fields}), "rendered")


def test_identities_are_numbered_through_the_splits_from_the_offset() -> None:
    labels = [r.labels for r in reader(id_offset=100).records()]
    numbers = {split: {v.pid for v in labels if v.split == split} for split in ("train", "val", "test")}
    assert numbers == {"train": {100, 101, 102}, "val": {103}, "test": {104, 105}}


def test_every_identity_is_seen_equally_often_by_every_camera() -> None:
    labels = [r.labels for r in reader().records()]
    assert len(labels) == 6 * 2 * 2
    assert len({v.sample_id for v in labels}) == len(labels)
    for pid in range(6):
        assert sorted(v.camid for v in labels if v.pid == pid if v.camid is not None) == [
            0,
            0,
            1,
            1,
        ]


def test_listing_renders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("rendered")

    monkeypatch.setattr(synthetic, "render_capture", refuse)
    source = reader()
    assert [source.key(r) for r in source.records()]


def test_a_loaded_sample_has_all_modalities_and_the_renderers_truth() -> None:
    source = reader()
    record = source.records()[5]
    sample = source.load(record, LIMIT)
    assert validate(sample) == []
    assert sample.modalities == parse_subset("rgb+nir+tir+sketch+text")
    assert {i.origin for i in sample.images.values()} == {"captured"}
    assert {(i.width, i.height) for i in sample.images.values()} == {(16, 32)}
    assert (sample.labels.pid, sample.labels.camid) == (record.labels.pid, record.labels.camid)
    assert sample.labels.viewid is not None
    assert sample.labels.timestamp is not None
    assert sample.labels.attributes
    assert {a.source for a in sample.labels.attributes} == {"renderer"}
    assert {"night", "capture"} <= sample.labels.extra.keys()
    assert sample.mask is not None
    assert (sample.mask.score, sample.mask.origin) == (1.0, "captured")
    mask = Image.open(io.BytesIO(sample.mask.image))
    assert (mask.mode, mask.size) == ("1", (16, 32))
    assert 0.05 < np.asarray(mask).mean() < 0.95


def test_a_loaded_sample_survives_the_schema() -> None:
    source = reader()
    sample = source.load(source.records()[0], LIMIT)
    (back,) = decode(encode([sample]))
    assert back.content_hash == sample.content_hash
    assert back.labels.extra == sample.labels.extra
    assert back.images == sample.images


def test_loading_is_the_same_in_any_order_and_process() -> None:
    first, second = reader(), reader()
    records = first.records()
    forward = [first.load(r, LIMIT) for r in records[:3]]
    backward = [second.load(r, LIMIT) for r in reversed(records[:3])]
    assert forward == backward[::-1]


def test_captures_differ() -> None:
    source = reader()
    hashes = {source.load(r, LIMIT).content_hash for r in source.records()}
    assert len(hashes) == len(source.records())


def test_the_content_hash_is_that_of_the_encoded_pictures() -> None:
    source = reader(modalities=parse_subset("rgb+tir"))
    sample = source.load(source.records()[0], LIMIT)
    digests = "".join(storage.sha256(sample.images[m].image) for m in (Modality.RGB, Modality.TIR))
    assert sample.content_hash == storage.sha256(digests.encode())


@pytest.mark.parametrize("subset", ["rgb", "nir+sketch", "text", "rgb+nir+tir"])
def test_only_the_wanted_modalities_are_kept(subset: str) -> None:
    source = reader(modalities=subset)
    sample = source.load(source.records()[0], LIMIT)
    assert sample.modalities == parse_subset(subset)
    assert validate(sample) == []


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_pictures_come_in_the_wanted_format(kind: str) -> None:
    source = reader(format=kind)
    sample = source.load(source.records()[0], LIMIT)
    formats = {str(Image.open(io.BytesIO(i.image)).format).lower() for i in sample.images.values()}
    assert formats == {kind}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"difficulty": 0.9},
        {"height": 40},
        {"format": "jpeg"},
        {"modalities": "rgb"},
        {"kind": "vehicle"},
    ],
)
def test_the_key_changes_with_what_is_rendered(change: dict[str, Any]) -> None:
    record = reader().records()[0]
    assert reader().key(record) != reader(**change).key(record)


def test_the_key_changes_with_the_renderers_source(monkeypatch: pytest.MonkeyPatch) -> None:
    source = reader()
    record = source.records()[0]
    before = source.key(record)
    monkeypatch.setattr(synthetic, "source_hash", lambda: "another")
    assert source.key(record) != before


def test_the_source_hash_covers_every_file_of_the_renderer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(Path(renderer.__file__).parent, tmp_path / "renderer")
    monkeypatch.setattr(renderer, "__file__", str(copied / "__init__.py"))
    fresh = synthetic.source_hash.__wrapped__  # past the cache
    assert fresh() == synthetic.source_hash()
    for file in copied.rglob("*.py"):
        before = fresh()
        file.write_text(file.read_text() + "# changed")
        assert fresh() != before


def test_more_identities_leave_the_keys_of_those_before_them() -> None:
    few, many = reader(val_identities=0, test_identities=0), reader(test_identities=9)
    before = [few.key(r) for r in few.records()]
    assert [many.key(r) for r in many.records()][: len(before)] == before


def test_a_set_of_nobody_is_refused() -> None:
    with pytest.raises(DataError, match="train_identities"):
        reader(train_identities=0, val_identities=0, test_identities=0).records()


def test_pictures_over_the_pixel_limit_are_refused() -> None:
    source = reader()
    with pytest.raises(DataError, match="16x32 exceeds the limit of 100 pixels"):
        source.load(source.records()[0], 100)


def test_version_2_carries_what_version_1_carries_and_other_pixels() -> None:
    first, second = reader(), reader(version=2)
    record = second.records()[0]
    sample = second.load(record, LIMIT)
    assert validate(sample) == []
    assert sample.modalities == parse_subset("rgb+nir+tir+sketch+text")
    assert sample.mask is not None and sample.labels.attributes
    assert sample.content_hash != first.load(record, LIMIT).content_hash
    assert first.key(record) != second.key(record) != reader(version=2, shared_cues=0.5).key(record)


def test_fewer_shared_cues_change_the_named_modality_alone() -> None:
    usual, apart = reader(version=2), reader(version=2, shared_cues={"tir": 0.0})
    record = usual.records()[0]
    before, after = usual.load(record, LIMIT).images, apart.load(record, LIMIT).images
    assert {m for m in before if before[m] != after[m]} == {Modality.TIR}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shared_cues": 0.5}, "shared_cues needs version: 2"),
        ({"version": 2, "shared_cues": {"rgb": 0.5}}, "'rgb' is none of nir, tir"),
        ({"version": 2, "shared_cues": 1.5}, r"must lie in \[0, 1\], not 1.5"),
        ({"version": 3}, "version"),
    ],
)
def test_what_a_version_cannot_render_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**{**SMALL, **wrong})
