"""The shard set: identity-sorted Parquet files, a manifest that publishes them, and a quarantine table.

```
<root>/MANIFEST.json          the single commit point: counts, lineage, and which tables list the shards
<root>/manifest/*.arrow       its tables of shards and identities (see manifest_files)
<root>/data/<key>.parquet     one file a shard; row groups hold whole identities
<root>/data/<key>.json        the shard's statistics, written after it: its presence means "finished"
<root>/quarantine.parquet     rows set aside, with reasons
<root>/plan/*.arrow           while a build runs: the records of the shards that it makes
```
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reid import storage
from reid.data.shards import schema
from reid.data.shards.counting import by_identity, identity_counts, modality_counts, subset_counts, uniform
from reid.data.shards.identity_list import Identity, IdentityMap
from reid.data.shards.identity_table import IdentityTable
from reid.data.shards.manifest import Manifest, RowGroup, Shard
from reid.data.shards.places import find_set
from reid.data.shards.published import publish, read_manifest, read_quarantine
from reid.data.shards.row_groups import GroupList, GroupRef
from reid.data.shards.schema import LABEL_COLUMNS, Sample
from reid.data.shards.shard_table import ShardTable
from reid.errors import DataError
from reid.modality import VISUAL, Modality, canonical, subset_name

log = logging.getLogger(__name__)

__all__ = ["GroupRef", "Identity", "ShardSet", "publish", "row_order", "write_shard"]


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
        cameras=sorted({sample.labels.camid for sample in ordered if sample.labels.camid is not None}),
    )


def row_order(sample: Sample) -> tuple[str, int, int, str]:
    """The order of rows in a shard: identity, camera, sample."""
    labels = sample.labels
    return labels.dataset, labels.pid, -1 if labels.camid is None else labels.camid, labels.sample_id


class ShardSet:
    """Read access to a published shard set."""

    def __init__(self, root: str, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest
        self._footers = _Footers()
        self._indices: dict[str, IdentityTable] = {}

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
            return cls(root, read_manifest(root))
        except DataError:
            # The tables of an earlier manifest are deleted some time after a new one: read it once more.
            return cls(root, read_manifest(root))

    def __repr__(self) -> str:
        rows = ", ".join(f"{split} {count}" for split in schema.SPLITS if (count := self.rows(split)))
        held = canonical(m for subset in self.stored.identities.subsets for m in subset)
        if not self.stored.identities.told.all():
            held = canonical(Modality(name) for shard in self.manifest.shards for name in shard.modalities)
        what = subset_name(held) or "no modality"
        return f"<ShardSet {self.root}: {self.manifest.dataset}, rows of {rows or 'no split'}, {what}>"

    @property
    def fingerprint(self) -> str:
        """Names the content: equal for equal inputs, generators and parameters."""
        return self.manifest.fingerprint

    def index(self, split: str) -> IdentityTable:
        """The identities of a split by row group, as columns in stored order; reads no row."""
        if split not in self._indices:
            self._indices[split] = self._index_of(split)
        return self._indices[split]

    def _index_of(self, split: str) -> IdentityTable:
        table, mine = self.stored.identities, np.zeros(len(self.stored), bool)
        mine[self.stored.of_split(split)] = True
        places = np.flatnonzero(mine[table.shard])
        if not len(places) or places[-1] - places[0] == len(places) - 1:
            return table.part(int(places[0]), int(places[-1]) + 1) if len(places) else table.part(0, 0)
        return table.take(places)

    @cached_property
    def stored(self) -> ShardTable:
        """The shards as a table."""
        return ShardTable.of(self.manifest.shards)

    @cached_property
    def _files(self) -> list[str]:
        return self.stored.column("file")

    def groups(self, split: str) -> GroupList:
        """The row groups of a split, in stored order."""
        return GroupList(self.root, self._files, self.index(split))

    def identities(self, split: str) -> IdentityMap:
        """Identities of a split with their row counts, sorted."""
        return self.index(split).by_identity()

    def rows(self, split: str) -> int:
        """Number of samples of a split."""
        return int(self.index(split).rows.sum(dtype=np.int64))

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

    def light_group(self, group: GroupRef) -> list[Sample]:
        """The samples of a row group without their pictures' bytes, as `labels` gives them."""
        table = _read(
            group.file, lambda file: file.read_row_group(group.index, columns=_light_columns()), self._footers
        )
        return schema.decode(_blank_images(table))

    def names(self, split: str) -> pa.ChunkedArray:
        """The ids of a split's samples in stored order, one small column of each file."""
        columns = [_read(u, lambda f: f.read(columns=["sample_id"]))["sample_id"] for u in self.files(split)]
        chunks = [chunk for column in columns for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.string())

    def labels(self, split: str) -> list[Sample]:
        """Every sample of a split without its pictures' bytes (`image` is b""): for protocols, statistics."""
        return list(self.light(split))

    def light(self, split: str) -> Iterator[Sample]:
        """As `labels`, one file at a time."""
        for uri in self.files(split):
            yield from schema.decode(_blank_images(_read_light(uri)))

    def label_tables(self, split: str) -> Iterator[pa.Table]:
        """What protocols ask of a split's samples, a file at a time: labels and provenance."""
        for uri in self.files(split):
            yield _read(uri, lambda file: file.read(columns=_PROTOCOL_COLUMNS))

    @cached_property
    def cameras(self) -> list[int]:
        """Sorted camera ids of the training split."""
        column = self.stored.columns["cameras"].take(pa.array(self.stored.of_split("train")))
        if not column.null_count:
            told: list[int] = pc.unique(pc.list_flatten(column)).to_pylist()
            return sorted(told)
        files = self.files("train")
        log.info("%s: the manifest tells no cameras, so %d files are opened", self.root, len(files))
        known: set[int | None] = set()
        for uri in files:
            known.update(_read(uri, lambda file: file.read(columns=["camid"]))["camid"].unique().to_pylist())
        return sorted(c for c in known if c is not None)

    def files(self, split: str) -> list[str]:
        """Uris of a split's Parquet files."""
        places = self.stored.of_split(split).tolist()
        return [storage.join(self.root, "data", self._files[place]) for place in places]

    def quarantine(self) -> list[dict[str, Any]]:
        """The rows set aside, with reasons."""
        return read_quarantine(self.root)


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


_PROTOCOL_COLUMNS = [
    *(name for name in LABEL_COLUMNS if name not in ("timestamp", "tracklet_id", "attributes", "extra")),
    "content_hash",
    *(f"{m.value}.{name}" for m in VISUAL for name in ("origin", "source_id")),
    *(f"captions.list.element.{name}" for name in ("origin", "source_id")),
]
"""Parquet names the items of a list "list.element"."""


def _light_columns() -> list[str]:
    """Everything but image bytes: Parquet reads the nested columns one by one."""
    columns = [*LABEL_COLUMNS, "content_hash", "captions"]
    for name in _PICTURES:
        columns += [f"{name}.{f.name}" for f in schema.SCHEMA.field(name).type if f.name != "image"]
    return columns


def _read_light(uri: str) -> pa.Table:
    return _read(uri, lambda file: file.read(columns=_light_columns()))


def _blank_images(table: pa.Table) -> pa.Table:
    for name in _PICTURES:
        if name not in table.column_names:  # a shard of before the modality was registered
            continue
        column = table[name].combine_chunks()
        fields = [f.name for f in column.type]
        blank = pa.array([b""] * len(column), pa.binary())
        struct = pa.StructArray.from_arrays(
            [blank, *column.flatten()], names=["image", *fields], mask=column.is_null()
        )
        table = table.set_column(table.column_names.index(name), name, struct)
    return table
