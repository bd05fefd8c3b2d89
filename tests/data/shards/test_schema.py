"""The sample's Arrow form: nothing is lost, any tool can read it, and what is malformed is named."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid.data.shards import schema
from reid.data.shards.schema import SCHEMA, Caption, Image, Labels, Mask, Sample, SampleAttribute
from reid.errors import DataError
from reid.modality import VISUAL, Modality

FULL = Sample(
    labels=Labels(
        sample_id="a/1",
        dataset="d",
        split="test",
        pid=2**40,
        roles=("query", "gallery"),
        camid=3,
        viewid=0,
        location="gate ü",
        timestamp=1.5e9 + 0.25,
        tracklet_id="t9",
        attributes=(SampleAttribute("upper_colour", "red", 0.5, "person"), SampleAttribute("hat", "no")),
        extra={"b": "2", "a": "", "": "1"},
    ),
    images={
        m: Image(bytes([i, 0, 255]), 4 + i, 5, "generated", "gen", "hash", "src")
        for i, m in enumerate(VISUAL)
    },
    captions=(Caption("a man in red", 0.25, "generated", "gen", "hash", "src"), Caption("un café")),
    mask=Mask(b"png", 0.75, "generated", "gen", "hash", "src"),
    content_hash="c0ffee",
)
LEAN = Sample(labels=Labels("a/2", "d", "train", 0), images={Modality.TIR: Image(b"x", 1, 2)})


def test_every_field_comes_back() -> None:
    for part in (FULL, FULL.labels, FULL.images[Modality.RGB], FULL.captions[0], FULL.mask):
        assert all(getattr(part, f.name) not in (None, (), {}) for f in fields(part) if f.compare), (
            "FULL is full"
        )
    assert schema.decode(schema.encode([FULL, LEAN])) == [FULL, LEAN]


def test_the_unknown_stays_unknown_and_is_not_the_empty() -> None:
    empty = replace(LEAN, labels=replace(LEAN.labels, roles=(), camid=0, location="", tracklet_id=""))
    unknown, known = schema.decode(schema.encode([LEAN, empty]))
    assert unknown == LEAN
    assert known == empty
    assert unknown.labels.roles is None
    assert known.labels.roles == ()
    assert unknown.mask is None
    assert set(unknown.images) == {Modality.TIR}


def test_columns_that_are_null_throughout_keep_their_types() -> None:
    assert schema.encode([LEAN]).schema.equals(SCHEMA, check_metadata=True)
    assert schema.encode([]).schema.equals(SCHEMA, check_metadata=True)
    assert schema.decode(schema.encode([])) == []
    both = pa.concat_tables([schema.encode([LEAN]), schema.encode([FULL])])
    assert schema.decode(both) == [LEAN, FULL]


def test_a_file_is_plain_parquet_with_the_version_inside(tmp_path: Path) -> None:
    pq.write_table(schema.encode([FULL]), tmp_path / "a.parquet")
    found = pq.read_schema(tmp_path / "a.parquet")
    assert found.metadata[b"anyreid.schema_version"] == schema.SCHEMA_VERSION.encode()

    def types(kind: pa.DataType) -> list[pa.DataType]:
        return [kind, *(t for i in range(kind.num_fields) for t in types(kind.field(i).type))]

    everything = [t for field in found for t in types(field.type)]
    assert len(everything) > 50
    assert not [t for t in everything if isinstance(t, pa.BaseExtensionType)]
    row = pq.read_table(tmp_path / "a.parquet").to_pylist()[0]
    assert (row["sample_id"], row["rgb"]["image"], row["captions"][0]["text"]) == (
        "a/1",
        b"\x00\x00\xff",
        "a man in red",
    )


def test_columns_may_be_left_out_but_the_four_labels() -> None:
    few = schema.encode([FULL]).select(["sample_id", "dataset", "split", "pid", "nir"])
    (sample,) = schema.decode(few)
    assert sample.identity == ("d", 2**40)
    assert sample.images == {Modality.NIR: FULL.images[Modality.NIR]}
    assert (sample.captions, sample.mask, sample.labels.roles) == ((), None, None)
    with pytest.raises(DataError, match=r"column\(s\) split, pid missing"):
        schema.decode(few.drop_columns(["split", "pid"]))


@pytest.mark.parametrize("metadata", [None, {}, {b"anyreid.schema_version": b"0"}])
def test_another_version_is_refused_with_the_file_and_the_remedy(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(DataError, match=r"x\.parquet: .*version (none|0), expected 1; build it anew"):
        schema.check_version(metadata, "x.parquet")


def test_this_version_is_accepted() -> None:
    schema.check_version(SCHEMA.metadata, "x.parquet")


def test_modalities_are_what_the_sample_has_in_canonical_order() -> None:
    both = replace(LEAN, captions=(Caption("words"),), images={Modality.TIR: Image(b"x", 1, 1)})
    assert both.modalities == (Modality.TIR, Modality.TEXT)
    assert replace(both, images={}).modalities == (Modality.TEXT,)


def test_well_formed_samples_have_no_problems() -> None:
    assert schema.validate(FULL) == []
    assert schema.validate(LEAN) == []


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        (replace(LEAN, labels=replace(LEAN.labels, sample_id="")), "sample_id is empty"),
        (replace(LEAN, labels=replace(LEAN.labels, dataset="")), "dataset is empty"),
        (
            replace(LEAN, labels=replace(LEAN.labels, split="dev")),
            "split is 'dev', not one of train, val, test",
        ),
        (
            replace(LEAN, labels=replace(LEAN.labels, roles=("probe",))),
            "role is 'probe', not one of query, gallery",
        ),
        (replace(LEAN, labels=replace(LEAN.labels, pid=-1)), "pid is -1; identities are numbered from 0"),
        (replace(LEAN, images={}), "no modality at all: neither an image nor a caption"),
        (replace(LEAN, captions=(Caption(" \n"),)), "an empty caption"),
        (replace(LEAN, images={Modality.NIR: Image(b"", 1, 1)}), "nir image is empty"),
        (replace(LEAN, images={Modality.TEXT: Image(b"x", 1, 1)}), "text cannot be an image"),
        (replace(LEAN, mask=Mask(b"")), "the mask is empty"),
    ],
)
def test_a_malformed_sample_is_told_what_is_wrong(sample: Sample, problem: str) -> None:
    assert schema.validate(sample) == [problem]


def test_every_problem_is_told() -> None:
    bad = replace(LEAN, labels=replace(LEAN.labels, pid=-1, split=""), images={})
    assert len(schema.validate(bad)) == 3
