"""Sets and galleries of five modalities, written before others could be registered, stay readable.

`tests/golden/five_modalities` was written by the schema of rgb, nir, tir, sketch and text.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.dataset.verify import verify
from reid.data.shards import schema
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.gallery.store import Gallery
from reid.modality import Modality, parse_subset
from tests.support.places import ROOT

EARLIER = ROOT / "tests" / "golden" / "five_modalities"
FIVE = ["rgb", "nir", "tir", "sketch", "text"]


@pytest.fixture
def earlier(tmp_path: Path) -> ShardSet:
    return ShardSet.open(str(shutil.copytree(EARLIER / "set", tmp_path / "set")))


def test_all_pictures_and_sentences_are_read(earlier: ShardSet) -> None:
    rows = [s for split in ("train", "test") for g in earlier.groups(split) for s in earlier.read_group(g)]
    assert len(rows) == 8
    assert {s.modalities for s in rows} == {parse_subset(FIVE)}
    assert {s.pixels("tir").shape for s in rows} == {(16, 16, 3)}


def test_labels_and_light_rows_are_read(earlier: ShardSet) -> None:
    light = list(earlier.light("test"))
    assert {s.modalities for s in light} == {parse_subset(FIVE)}
    assert {s.images[Modality.SKETCH].image for s in light} == {b""}


def test_the_set_is_sound(earlier: ShardSet) -> None:
    verdict = verify(earlier, parallel=False, out=lambda _: None)
    assert verdict.sound, verdict.problems
    assert (verdict.rows, verdict.pictures) == (8, 8 * 5)  # four pictures and a mask each


def test_a_gallery_is_read_and_written_on(tmp_path: Path) -> None:
    gallery = Gallery.open(str(shutil.copytree(EARLIER / "gallery", tmp_path / "gallery")))
    assert gallery.subsets == ("rgb", "rgb+nir")
    assert gallery.snapshot().ids == ["a", "b"]
    gallery.delete(["a"])
    assert gallery.snapshot().ids == ["b"]


def test_columns_of_pictures_may_lack_and_no_others() -> None:
    file = next((EARLIER / "set" / "data").glob("*.parquet"))
    columns = pq.read_schema(file)
    schema.check_columns(columns, "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: its columns are not those.*\(extra\)"):
        schema.check_columns(columns.remove(columns.get_field_index("extra")), "a.parquet")
    picture = columns.field("nir").type
    with pytest.raises(DataError, match=r"holds the modality 'event', which nothing registers here"):
        schema.check_columns(columns.append(pa.field("event", picture)), "a.parquet")


def test_a_set_with_a_modality_that_nothing_registers_is_refused_by_its_name(
    earlier: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {name: m for name, m in Modality.known.items() if name != "tir"}
    monkeypatch.setattr(Modality, "known", others)  # putting one back would change their order
    with pytest.raises(DataError, match=r"set: it holds the modality 'tir', which nothing registers here"):
        ShardSet.open(earlier.root)
