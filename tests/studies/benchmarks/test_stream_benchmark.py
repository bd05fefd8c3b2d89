"""The stream benchmark compares equals and names what it measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from reid.data.shards.shard_set import ShardSet
from reid.studies.benchmarks import stream
from reid.studies.benchmarks.stream import K, P, in_memory, open_stream, stream_rows, write_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    root: Path = tmp_path_factory.mktemp("set")
    return write_set(str(root), 40, 8, lambda i: b"%d" % i, rows_per_group=32, rows_per_shard=160)


def test_the_set_has_its_own_picture_in_every_row(shards: ShardSet) -> None:
    samples = [s for g in shards.groups("train") for s in shards.read_group(g)]
    assert sorted(int(s.images[stream.RGB].image) for s in samples) == list(range(320))
    assert len(shards.files("train")) == 2
    assert {g.rows for g in shards.groups("train")} == {32}


def test_the_reference_draws_what_the_stream_draws(shards: ShardSet) -> None:
    ours, plain = list(open_stream(shards, None).rows_of(0, 5)), list(in_memory(shards)(5))
    assert len(plain) == len(ours) == 5 == 40 * 2 // P
    for rows in (*plain, *ours):
        assert sorted(Counter(row.label for row in rows).values()) == [K] * P
        assert {str(p.sample_id).split("-")[0] for r in rows for p in r.parts.values()} == {
            str(row.label) for row in rows
        }
        assert len({p.sample_id for r in rows for p in r.parts.values()}) == P * K


@pytest.mark.slow
def test_rows_name_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GROUP_SIZES", (16, 64))
    found = list(stream_rows(1, identities=32, captures=4))
    by_unit = Counter(row.unit for row in found)
    assert by_unit == {
        "rows/s": 3 + 3 + 2 + 1 + 2,
        "CPU us": 2 + 2 + 1,
        "MiB/s": 1,
        "ms": 1,
        "ms/group": 2,
        "B/row": 2,
    }
    (aimed,) = [row for row in found if row.target is not None]
    assert aimed.name == "batches, pictures decoded: reservoir of a tenth"
    assert aimed.unit == "CPU us" and aimed.ratio == pytest.approx((aimed.reference or 0) / aimed.value)
