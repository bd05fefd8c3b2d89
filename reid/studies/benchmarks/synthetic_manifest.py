"""A published manifest of as many captures as wanted, without a shard."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.data.shards.identity_table import IdentityTable
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import SCHEMA_VERSION
from reid.data.shards.shard_set import publish
from reid.data.shards.shard_table import SHARD_SCHEMA, ShardTable
from reid.modality import Modality

ROWS_PER_SHARD, ROWS_PER_GROUP = 512, 64
"""The default layout of a build."""
SUBSETS = ((Modality.RGB,), (Modality.NIR,), (Modality.RGB, Modality.NIR))
"""The modalities of its captures: each identity has some of every kind."""


def synthetic_set(root: str, captures: int, identities: int) -> None:
    """Publish a manifest of shards that do not exist, with identities of 1 to 2n captures."""
    draw = np.random.default_rng(0)
    mean = max(1, captures // identities)
    rows = draw.integers(1, 2 * mean, identities, dtype=np.int32, endpoint=False)
    rows[-1] = max(1, rows[-1] + captures - int(rows.sum(dtype=np.int64))) if mean > 1 else 1
    rows = np.minimum(rows, 2 * mean)
    before = np.cumsum(rows, dtype=np.int64) - rows
    shard = (before // ROWS_PER_SHARD).astype(np.int32)
    inside = before - before[np.searchsorted(shard, shard)]
    group = (inside // ROWS_PER_GROUP).astype(np.int32)
    first, second = rows // 3, rows // 3
    parts = np.stack([first, second, rows - first - second], axis=1)
    kept = parts > 0
    shards = int(shard[-1]) + 1
    table = IdentityTable(
        datasets=("synthetic",),
        dataset=np.zeros(identities, np.int32),
        pid=np.arange(identities, dtype=np.int64),
        rows=rows,
        shard=shard,
        group=_dense_groups(shard, group),
        subsets=SUBSETS,
        starts=np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64),
        subset=np.broadcast_to(np.arange(3, dtype=np.int16), parts.shape)[kept],
        counts=parts[kept],
    )
    publish(root, _manifest(root, _shards(table, shards), int(rows.sum(dtype=np.int64)), identities))


def _dense_groups(shard: NDArray[np.int32], group: NDArray[np.int32]) -> NDArray[np.int32]:
    """Row groups numbered without gaps within each shard."""
    new = np.ones(len(shard), bool)
    new[1:] = (shard[1:] != shard[:-1]) | (group[1:] != group[:-1])
    counted = np.cumsum(new)
    found: NDArray[np.int32] = (counted - counted[np.searchsorted(shard, shard)]).astype(np.int32)
    return found


def _shards(table: IdentityTable, count: int) -> ShardTable:
    entries = np.bincount(table.shard, minlength=count).astype(np.int64)
    rows = np.bincount(table.shard, table.rows, count).astype(np.int64)
    keys = [f"{number:012x}-{number:012x}" for number in range(count)]
    details = json.dumps({"modalities": {m.value: {"captured": 1} for m in (Modality.RGB, Modality.NIR)}})
    columns = {
        "key": keys,
        "file": [f"{key}.parquet" for key in keys],
        "split": pa.array(["train"] * count),
        "rows": rows,
        "bytes": rows * 10_000,
        "sha256": ["0" * 64] * count,
        "cameras": [[0, 1, 2]] * count,
        "first": np.cumsum(entries) - entries,
        "entries": entries,
        "details": [details] * count,
    }
    return ShardTable(pa.table(columns, schema=SHARD_SCHEMA), table)


def _manifest(root: str, shards: ShardTable, rows: int, identities: int) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        dataset="synthetic",
        fingerprint="benchmark",
        source=root,
        generators={},
        shards=shards,
        counts={"train": {"rows": rows, "identities": identities}},
        quarantined=0,
    )
