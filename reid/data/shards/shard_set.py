"""The shard set: identity-sorted Parquet files, a manifest that publishes them, and a quarantine table.

```
<root>/MANIFEST.json          the single commit point: nothing is part of the set until it is listed here
<root>/data/<key>.parquet     one file a shard; row groups hold whole identities
<root>/data/<key>.json        the shard's statistics, written after it: its presence means "finished"
<root>/quarantine.parquet     rows set aside, with reasons
```
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from reid import storage
from reid.data.shards import schema
from reid.data.shards.counting import by_identity, identity_counts, modality_counts, subset_counts, uniform
from reid.data.shards.manifest import (
    MANIFEST,
    QUARANTINE,
    QUARANTINE_SCHEMA,
    Manifest,
    RowGroup,
    Shard,
)
from reid.data.shards.places import find_set
from reid.data.shards.schema import LABEL_COLUMNS, Sample
from reid.errors import DataError, StorageError
from reid.modality import VISUAL, Modality, canonical, subset_name

Identity = tuple[str, int]


@dataclass(frozen=True)
class GroupRef:
    """A row group of a shard: the unit of streaming."""

    file: str
    index: int
    rows: int
    identities: tuple[tuple[str, int, int], ...]


def write_shard(
    samples: Sequence[Sample], uri: str, key: str, rows_per_group: int, quarantined: list[dict[str, Any]]
) -> Shard:
    """Write one shard: samples of one split, whole identities, sorted here. Returns its statistics.

    A row group closes before an identity would be split, unless that identity alone exceeds it.
    """
    ordered = sorted(samples, key=row_order)
    groups: list[list[Sample]] = []
    for same in by_identity(ordered):
        if groups and len(groups[-1]) + len(same) <= rows_per_group:
            groups[-1].extend(same)
        else:
            groups.append(list(same))
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, schema.SCHEMA, compression="zstd") as writer:
        for group in groups:
            writer.write_table(schema.encode(group), row_group_size=max(len(group), 1))
    data = stream.getvalue()
    storage.write_bytes(uri, data)
    modalities = modality_counts(ordered)
    told = uniform(modalities, len(ordered)) is not None
    return Shard(
        key=key,
        file=uri.rsplit("/", 1)[-1],
        split=ordered[0].labels.split if ordered else "none",
        rows=len(ordered),
        bytes=len(data),
        sha256=storage.sha256(data),
        row_groups=[
            RowGroup(rows=len(g), identities=identity_counts(g), subsets=None if told else subset_counts(g))
            for g in groups
        ],
        modalities=modalities,
        quarantined=quarantined,
    )


def row_order(sample: Sample) -> tuple[str, int, int, str]:
    """The order of rows in a shard: identity, camera, sample."""
    labels = sample.labels
    return labels.dataset, labels.pid, -1 if labels.camid is None else labels.camid, labels.sample_id


def publish(root: str, manifest: Manifest) -> None:
    """Write the quarantine table, then the manifest: the set exists from then on."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(manifest.quarantine_rows, schema=QUARANTINE_SCHEMA), stream)
    storage.write_bytes(storage.join(root, QUARANTINE), stream.getvalue())
    storage.write_json(storage.join(root, MANIFEST), manifest.model_dump(mode="json"))


class ShardSet:
    """Read access to a published shard set."""

    def __init__(self, root: str, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest
        self._footers = _Footers()

    @classmethod
    def open(cls, uri: str) -> ShardSet:
        """Open a published set, or the newest of a folder of sets (see `find_set`).

        Raises DataError when there is none, when several are there and LATEST names none of them, or when it
        has another schema version.
        """
        return cls.at(find_set(uri))

    @classmethod
    def at(cls, uri: str) -> ShardSet:
        """Open the set that is at this very place. Raises DataError when there is none, as `open`."""
        root = storage.absolute(uri)
        try:
            tree = storage.read_json(storage.join(root, MANIFEST))
        except StorageError as error:
            raise DataError(
                f"{root}: no shard set here ({error}) Build it with `python -m jobs.build`."
            ) from None
        found = tree.get("schema_version") if isinstance(tree, dict) else None
        if found != schema.SCHEMA_VERSION:
            raise DataError(
                f"{root}: schema version {found}, expected {schema.SCHEMA_VERSION}; build it anew."
            )
        try:
            return cls(root, Manifest.model_validate(tree))
        except ValidationError as error:
            raise DataError(f"{root}: {MANIFEST} is damaged ({error}); build it anew.") from None

    def __repr__(self) -> str:
        rows = ", ".join(f"{split} {count}" for split in schema.SPLITS if (count := self.rows(split)))
        held = canonical(Modality(name) for shard in self.manifest.shards for name in shard.modalities)
        what = subset_name(held) or "no modality"
        return f"<ShardSet {self.root}: {self.manifest.dataset}, rows of {rows or 'no split'}, {what}>"

    @property
    def fingerprint(self) -> str:
        """Names the content: equal for equal inputs, generators and parameters."""
        return self.manifest.fingerprint

    def groups(self, split: str) -> list[GroupRef]:
        """The row groups of a split, in stored order."""
        return [
            GroupRef(storage.join(self.root, "data", s.file), i, g.rows, tuple(g.identities))
            for s in self.manifest.shards
            if s.split == split
            for i, g in enumerate(s.row_groups)
        ]

    def identities(self, split: str) -> dict[Identity, int]:
        """Identities of a split with their row counts, sorted."""
        counts: Counter[Identity] = Counter()
        for group in self.groups(split):
            for dataset, pid, rows in group.identities:
                counts[dataset, pid] += rows
        return dict(sorted(counts.items()))

    def rows(self, split: str) -> int:
        """Number of samples of a split."""
        return sum(g.rows for g in self.groups(split))

    def read_group(self, group: GroupRef, columns: Sequence[str] | None = None) -> list[Sample]:
        """All samples of a row group, encoded images included; only some columns of them if given."""
        names = None if columns is None else list(columns)
        table = _read(group.file, lambda file: file.read_row_group(group.index, columns=names), self._footers)
        return schema.decode(table)

    def sample_ids(self, group: GroupRef) -> list[str]:
        """The ids of a row group's samples; reads one small column."""
        table = _read(group.file, lambda file: file.read_row_group(group.index, columns=["sample_id"]))
        ids: list[str] = table["sample_id"].to_pylist()
        return ids

    def labels(self, split: str) -> list[Sample]:
        """Every sample of a split without its pictures' bytes (`image` is b""): for protocols, statistics."""
        return list(self.light(split))

    def light(self, split: str) -> Iterator[Sample]:
        """As `labels`, one file at a time."""
        for uri in self.files(split):
            yield from schema.decode(_blank_images(_read_light(uri)))

    @cached_property
    def cameras(self) -> list[int]:
        """Sorted camera ids of the training split."""
        known: set[int | None] = set()
        for uri in self.files("train"):
            known.update(_read(uri, lambda file: file.read(columns=["camid"]))["camid"].unique().to_pylist())
        return sorted(c for c in known if c is not None)

    def files(self, split: str) -> list[str]:
        """Uris of a split's Parquet files."""
        return [storage.join(self.root, "data", s.file) for s in self.manifest.shards if s.split == split]

    def quarantine(self) -> list[dict[str, Any]]:
        """The rows set aside, with reasons."""
        table = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(self.root, QUARANTINE))))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


class _Footers:
    """Parsed ends of files, up to a size: what a file's second row group need not ask for again."""

    LIMIT = 32 * 2**20

    def __init__(self) -> None:
        self.known: dict[str, pq.FileMetaData] = {}
        self.size = 0

    def put(self, uri: str, footer: pq.FileMetaData) -> None:
        if self.size + footer.serialized_size > self.LIMIT:
            self.known, self.size = {}, 0
        self.known[uri] = footer
        self.size += footer.serialized_size


def _read(uri: str, read: Callable[[pq.ParquetFile], pa.Table], footers: _Footers | None = None) -> pa.Table:
    """What `read` takes out of a shard. Raises DataError for a file that is no shard of this version."""
    fs, path = storage.resolve(uri)
    footer = footers.known.get(uri) if footers is not None else None

    def take() -> pa.Table:
        with fs.open_input_file(path) as stream:
            # Neighbouring columns in one request: a row group of an object store is 2 of them, not 50.
            file = pq.ParquetFile(stream, pre_buffer=True, metadata=footer)
            if footer is None:
                schema.check_version(file.schema_arrow.metadata, uri)
                if footers is not None:
                    footers.put(uri, file.metadata)
            return read(file)

    try:
        return storage.retried(uri, take)
    except (OSError, pa.ArrowInvalid) as error:
        if "AWS Error" in str(error):  # the store failed; the shard may be whole
            raise storage.unreachable(uri, error) from error
        raise DataError(f"{uri}: not a readable shard ({error}). Rebuild the set.") from None


_PICTURES = (*(m.value for m in VISUAL), "mask")


def _read_light(uri: str) -> pa.Table:
    """Everything but image bytes: Parquet reads the nested columns one by one."""
    columns = [*LABEL_COLUMNS, "content_hash", "captions"]
    for name in _PICTURES:
        columns += [f"{name}.{f.name}" for f in schema.SCHEMA.field(name).type if f.name != "image"]
    return _read(uri, lambda file: file.read(columns=columns))


def _blank_images(table: pa.Table) -> pa.Table:
    for name in _PICTURES:
        column = table[name].combine_chunks()
        fields = [f.name for f in column.type]
        blank = pa.array([b""] * len(column), pa.binary())
        struct = pa.StructArray.from_arrays(
            [blank, *column.flatten()], names=["image", *fields], mask=column.is_null()
        )
        table = table.set_column(table.column_names.index(name), name, struct)
    return table
