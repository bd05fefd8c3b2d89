"""The Arrow files of a manifest: its tables of shards and identities, written once and memory-mapped.

```
<root>/manifest/shards-<hash>.arrow       a row for each shard
<root>/manifest/identities-<hash>.arrow   a row for each identity of each row group
```
MANIFEST.json names them with their checksums. They are Arrow IPC files without compression, so that processes
of a machine share the pages of one copy; from an object store they are first copied to this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from reid import storage
from reid.data.shards.identity_table import IdentityTable
from reid.data.shards.schema import refuse_strangers
from reid.data.shards.shard_table import SHARD_SCHEMA, ShardTable
from reid.errors import DataError, StorageError
from reid.modality import parse_subset, subset_name
from reid.storage.local_copies import local_copy

FOLDER = "manifest"
_SUBSETS = b"anyreid.subsets"
_CAPTURES = pa.list_(pa.struct([("subset", pa.int16()), ("count", pa.int32())]))
_IDENTITIES = pa.schema(
    [
        ("dataset", pa.dictionary(pa.int32(), pa.string())),
        ("pid", pa.int64()),
        ("rows", pa.int32()),
        ("shard", pa.int32()),
        ("group", pa.int32()),
        ("captures", _CAPTURES),
    ]
)


class ManifestFile(BaseModel):
    """A table of the manifest: where it is below the set's folder, and what it must be."""

    file: str
    rows: int
    bytes: int
    sha256: str


def write_tables(root: str, shards: ShardTable) -> dict[str, ManifestFile]:
    """Write both tables below a set's folder, unless they are there undamaged.

    Returns what the manifest says of them.
    """
    batches = {"shards": _shards_batch(shards), "identities": _identities_batch(shards.identities)}
    return {name: _write(root, name, batch) for name, batch in batches.items()}


def open_tables(root: str, files: Mapping[str, ManifestFile]) -> ShardTable:
    """The tables that a manifest names.

    Raises DataError when one is missing or cut short, or the set has a modality that nothing registers here.
    """
    shards, identities = (_open(root, files[name]) for name in ("shards", "identities"))
    return ShardTable(pa.Table.from_batches([shards]), _identity_table(identities, root))


def damaged_tables(root: str, files: Mapping[str, ManifestFile]) -> list[str]:
    """A sentence for each table that is not what the manifest says; reads them whole."""
    wrong = []
    for known in files.values():
        try:
            data = storage.read_bytes(storage.join(root, known.file))
        except StorageError as error:
            wrong.append(str(error))
            continue
        if storage.sha256(data) != known.sha256:
            wrong.append(f"{known.file}: its content changed since it was written (sha256)")
    return wrong


def _write(root: str, name: str, batch: pa.RecordBatch) -> ManifestFile:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue()
    digest = storage.sha256(data)
    made = ManifestFile(
        file=f"{FOLDER}/{name}-{digest[:16]}.arrow", rows=batch.num_rows, bytes=data.size, sha256=digest
    )
    uri = storage.join(root, made.file)
    if not _is_whole(uri, made):
        storage.write_bytes(uri, data)
    return made


def _is_whole(uri: str, known: ManifestFile) -> bool:
    """Whether a table is there with its content: only then may a build leave it as it is."""
    if storage.stamp(uri).partition("@")[0] != str(known.bytes):
        return False
    try:
        return storage.sha256(storage.read_bytes(uri)) == known.sha256
    except StorageError:  # deleted since, or unreadable
        return False


def _open(root: str, known: ManifestFile) -> pa.RecordBatch:
    uri = storage.join(root, known.file)
    remedy = "run the same build again: it writes the manifest anew"
    try:
        path = local_copy(uri, known.sha256, known.bytes)
        batch: pa.RecordBatch = pa.ipc.open_file(pa.memory_map(path)).get_batch(0)
    except (FileNotFoundError, StorageError, pa.ArrowInvalid) as error:
        raise DataError(f"{uri}: not readable as a table of the manifest ({error}); {remedy}.") from error
    if batch.num_rows != known.rows:
        raise DataError(f"{uri}: {batch.num_rows} rows, the manifest says {known.rows}; {remedy}.")
    return batch


def _shards_batch(shards: ShardTable) -> pa.RecordBatch:
    return _one_batch(shards.columns.cast(SHARD_SCHEMA))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    arrays = [_whole(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _identities_batch(table: IdentityTable) -> pa.RecordBatch:
    begin, end = int(table.starts[0]), int(table.starts[-1])
    captures = pa.StructArray.from_arrays(
        [
            pa.array(table.subset[begin:end], pa.int16()),
            pa.array(table.counts[begin:end], pa.int32()),
        ],
        fields=list(_CAPTURES.value_type),
    )
    offsets = pa.array((table.starts - begin).astype(np.int32), pa.int32())
    plain = (("pid", pa.int64()), *((name, pa.int32()) for name in ("rows", "shard", "group")))
    arrays = [
        pa.DictionaryArray.from_arrays(
            pa.array(table.dataset, pa.int32()), pa.array(table.datasets, pa.string())
        ),
        *(pa.array(getattr(table, name), kind) for name, kind in plain),
        pa.ListArray.from_arrays(offsets, captures, type=_CAPTURES),
    ]
    told = {_SUBSETS: json.dumps([subset_name(subset) for subset in table.subsets]).encode()}
    return pa.RecordBatch.from_arrays(arrays, schema=_IDENTITIES.with_metadata(told))


def _identity_table(batch: pa.RecordBatch, root: str) -> IdentityTable:
    dataset, captures = batch.column("dataset"), batch.column("captures")
    subset, counts = captures.values.flatten()
    names = json.loads((batch.schema.metadata or {}).get(_SUBSETS, b"[]"))
    refuse_strangers((part for name in names for part in name.split("+") if part), root)
    shared: Any = partial(pa.Array.to_numpy, zero_copy_only=True)
    return IdentityTable(
        datasets=tuple(dataset.dictionary.to_pylist()),
        dataset=shared(dataset.indices),
        **{name: shared(batch.column(name)) for name in ("pid", "rows", "shard", "group")},
        subsets=tuple(parse_subset(name) if name else () for name in names),
        starts=shared(captures.offsets),
        subset=shared(subset),
        counts=shared(counts),
    )
