"""What reading a row group asks of its storage: few requests, and only the columns that are wanted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reid.data.shards.schema import Image, Sample
from reid.data.shards.shard_set import ShardSet, _Footers
from reid.modality import Modality
from tests.support.replace_storage import replace_storage
from tests.support.sets.shards import make_identities, make_shards
from tests.support.sets.streams import names, stream

RGB, NIR = Modality.RGB, Modality.NIR
PICTURE = 20_000


class CountingFile(io.FileIO):
    """Remembers the size of every read."""

    sizes: list[int]

    def __init__(self, path: str, sizes: list[int]) -> None:
        super().__init__(path)
        self.sizes = sizes

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self.sizes.append(len(data))
        return data


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each request to storage."""
    sizes: list[int] = []

    class Files:
        def open_input_file(self, path: str) -> Any:
            return pa.PythonFile(CountingFile(path, sizes), "r")

    replace_storage(monkeypatch, "resolve", lambda uri: (Files(), uri))
    return sizes


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """8 identities of 4 captures in 4 row groups of one file, with pictures that do not compress."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(s.labels, {m: Image(rng.bytes(PICTURE), 8, 8) for m in s.images})
        for s in make_identities([4] * 8, [RGB, NIR])
    ]
    return make_shards(tmp_path, [samples], rows_per_group=8)


def test_a_row_group_is_one_request_once_its_file_is_known(shards: ShardSet, reads: list[int]) -> None:
    groups = shards.groups("train")
    first = shards.read_group(groups[0])
    assert len(reads) <= 3, "the file's end, and the group"
    reads.clear()
    assert [s.labels.pid for s in shards.read_group(groups[3])] == [6] * 4 + [7] * 4
    assert len(reads) == 1
    assert shards.read_group(groups[0]) == first


def test_footers_are_kept_up_to_a_size(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Footers, "LIMIT", 10)
    for group in shards.groups("train"):
        shards.read_group(group)
    assert len(shards._footers.known) == 1


def test_streams_read_the_pictures_of_their_modalities_only(shards: ShardSet, reads: list[int]) -> None:
    used = {}
    for modalities in ([RGB], [NIR], [RGB, NIR]):
        reads.clear()
        source = stream(shards, modalities, identities=2, instances=4, reservoir_rows=10, prefetch_mib=0)
        rows = [row for batch in source.rows_of(0, 4) for row in batch]
        assert len(rows) == 32 and len(set(names(rows))) == 32
        assert all(list(row.parts) == modalities for row in rows)
        used[len(modalities)] = sum(reads)
    assert 32 * PICTURE < used[1] < 32 * PICTURE * 1.2
    assert used[2] > 2 * 32 * PICTURE
