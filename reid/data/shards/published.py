"""Publishing a shard set and reading what was published: MANIFEST.json, its tables and the rejected rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from reid import storage
from reid.data.shards import schema
from reid.data.shards.manifest import MANIFEST, QUARANTINE, QUARANTINE_SCHEMA, Manifest
from reid.data.shards.manifest_files import ManifestFile, open_tables, write_tables
from reid.data.shards.shard_table import ShardTable
from reid.errors import DataError, StorageError


def publish(root: str, manifest: Manifest, tables: Mapping[str, ManifestFile] | None = None) -> None:
    """Write the tables of shards and rejected rows, then the manifest: the set exists from then on.

    `tables`: those of the manifest's shards, where they are written already.
    """
    tables = tables or write_tables(root, ShardTable.of(manifest.shards))
    stream = io.BytesIO()
    pq.write_table(QuarantineTable.of(manifest.quarantine_rows).table, stream)
    storage.write_bytes(storage.join(root, QUARANTINE), stream.getvalue())
    named = {name: table.model_dump() for name, table in tables.items()}
    storage.write_json(storage.join(root, MANIFEST), {**manifest.heading(), "tables": named})


class QuarantineTable(Sequence[dict[str, Any]]):
    """Rejected rows as a table, or those of a published set, which are read when they are asked for."""

    def __init__(self, table: pa.Table | None, root: str = "", rows: int = 0) -> None:
        self._table, self.root, self.size = table, root, rows if table is None else table.num_rows

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> QuarantineTable:
        """The same rows as a table."""
        if isinstance(rows, QuarantineTable):
            return rows
        return cls(pa.Table.from_pylist(list(rows), schema=QUARANTINE_SCHEMA))

    @classmethod
    def at(cls, root: str) -> QuarantineTable:
        """The rejected rows of a published set, read now.

        Raises StorageError for a file that is missing, pa.ArrowException for one that is damaged.
        """
        return cls(_quarantine_table(root))

    @property
    def table(self) -> pa.Table:
        """The rows, by QUARANTINE_SCHEMA."""
        if self._table is None:
            self._table = _quarantine_table(self.root) if self.size else QUARANTINE_SCHEMA.empty_table()
        return self._table

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.table.to_pylist()[index]
        return self.table.slice(index % max(self.size, 1), 1).to_pylist()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QuarantineTable):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def read_quarantine(root: str) -> list[dict[str, Any]]:
    """The rejected rows of a published set, with reasons."""
    rows: list[dict[str, Any]] = _quarantine_table(root).to_pylist()
    return rows


def _quarantine_table(root: str) -> pa.Table:
    return pq.read_table(io.BytesIO(storage.read_bytes(storage.join(root, QUARANTINE))))


def read_manifest(root: str) -> Manifest:
    """The manifest of a set, of this version or of one that had no tables. Raises DataError."""
    try:
        tree = storage.read_json(storage.join(root, MANIFEST))
    except StorageError as error:
        raise DataError(
            f"{root}: no shard set here ({error}) Build it with `python -m jobs.build`."
        ) from None
    found = tree.get("schema_version") if isinstance(tree, dict) else None
    if found != schema.SCHEMA_VERSION:
        raise DataError(f"{root}: schema version {found}, expected {schema.SCHEMA_VERSION}; build it anew.")
    try:
        if "tables" not in tree:
            return Manifest.model_validate(tree)
        aside = QuarantineTable(None, root, int(tree.get("quarantined", 0)))
        manifest = Manifest.model_validate({**tree, "shards": [], "quarantine_rows": aside})
        files = {name: ManifestFile.model_validate(given) for name, given in manifest.tables.items()}
        shards = open_tables(root, files)
    except (ValidationError, KeyError) as error:
        raise DataError(f"{root}: {MANIFEST} is damaged ({error}); build it anew.") from None
    return manifest.model_copy(update={"shards": shards})
