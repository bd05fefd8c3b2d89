"""Training batches from an object store: the same as from a folder, in memory or streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.sets.shards import make_identities, make_shards
from tests.support.sets.streams import ids, stream


@pytest.mark.parametrize("reservoir", [1000, 12], ids=["fits", "streamed"])
def test_batches_from_s3_are_those_of_a_local_set(bucket: str, tmp_path: Path, reservoir: int) -> None:
    people = make_identities([4] * 12)
    parts = [people[:24], people[24:]]
    here, there = (make_shards(root, parts, 8) for root in (str(tmp_path), f"{bucket}/set"))
    options: dict[str, Any] = {"identities": 2, "instances": 2, "reservoir_rows": reservoir}
    for epoch in range(2):
        local = [ids(b) for b in stream(here, **options).epoch(epoch, 12)]
        assert [ids(b) for b in stream(there, **options).epoch(epoch, 12)] == local
        resumed = stream(there, **options).epoch(epoch, 12, start=9)
        assert [ids(b) for b in resumed] == local[9:]
