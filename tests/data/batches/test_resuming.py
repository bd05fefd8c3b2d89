"""A resumed epoch is the same epoch, and reads no more than it must."""

from __future__ import annotations

from typing import Any

import pytest

from reid.config import AugmentConfig
from reid.data.batches import collate
from reid.data.batches.stream import BatchStream
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.streams import (
    CountingShards,
    equal,
    names,
    stream,
)


@pytest.mark.parametrize("sampler", ["pk", "tuple", "cross"])
@pytest.mark.parametrize("reservoir", [40, 1000])
@pytest.mark.parametrize("start", [1, 9, 20])
def test_resuming_at_a_step_goes_on_exactly_there(
    many: ShardSet,
    spectra: ShardSet,
    start: int,
    reservoir: int,
    sampler: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_stream() -> BatchStream:
        return stream(
            spectra if sampler == "cross" else many,
            (Modality.RGB, Modality.NIR, Modality.TIR) if sampler == "cross" else (Modality.RGB,),
            augment=AugmentConfig(pad=1),
            identities=6,
            instances=2,
            sampler=sampler,
            reservoir_rows=reservoir,
            modality_dropout=0.3,
        )

    whole = list(open_stream().epoch(2, 24))
    decoded = 0
    decode = collate.decode_rgb

    def note(*arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    monkeypatch.setattr(collate, "decode_rgb", note)
    rest = list(open_stream().epoch(2, 24, start=start))
    assert len(rest) == 24 - start
    assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))
    assert decoded == sum(len(b) for b in rest), "nothing that was skipped is decoded"


def test_resuming_reads_no_row_group_that_is_spent(many: ShardSet) -> None:
    def drawn(start: int, threads: int = 0) -> tuple[list[list[str]], set[tuple[str, int]]]:
        counting = CountingShards.count(many)
        source = stream(counting, identities=6, instances=4, reservoir_rows=40, prefetch_mib=64 * threads)
        batches = [names(rows) for rows in source.rows_of(1, 10, start)]
        assert len(set(counting.reads)) == len(counting.reads), "none is read twice"
        return batches, set(counting.reads)

    whole, everything = drawn(0)
    assert len(everything) == 21
    for start in range(1, 10):
        rest, read = drawn(start)
        assert rest == whole[start:]
        needed = {name.split("-")[0] for batch in rest for name in batch}
        assert len(read) <= len(needed) + 2, "one for each identity to come at most, and what stays undrawn"
        assert (rest, read) == drawn(start, threads=2)
    assert len(read) < 8


def test_resuming_in_a_later_lap_reads_nothing_of_the_first(many: ShardSet) -> None:
    def drawn(shards: ShardSet, start: int) -> list[list[str]]:
        source = stream(shards, identities=6, instances=4, reservoir_rows=40)
        return [names(rows) for rows in source.rows_of(0, 25, start)]

    counting = CountingShards.count(many)
    assert drawn(counting, 22) == drawn(many, 0)[22:]
    assert len(counting.reads) < 21


def test_a_manifest_that_promises_too_much_is_told(many: ShardSet) -> None:
    source = stream(many, identities=6, instances=2, reservoir_rows=40)
    source.index.chunks = source.index.chunks + 1
    with pytest.raises(DataError, match="promises more captures of training identity"):
        list(source.rows_of(0, 40))


def test_resuming_after_the_end_gives_nothing(many: ShardSet) -> None:
    assert list(stream(many, identities=6, instances=2).epoch(0, 4, start=4)) == []
