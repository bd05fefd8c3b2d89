"""The examined data: a reader's records or a built shard set, with one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reid import storage
from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import SPLITS, Caption, Image, Sample
from reid.data.shards.shard_set import ShardSet
from reid.doctor.finding import Finding
from reid.errors import AnyReIDError, StorageError
from reid.modality import Modality

_LISTED = b"?"
"""Stands for the bytes of a picture that nobody has read yet."""


@dataclass(frozen=True)
class ExaminedSample:
    """A capture as it is listed: labels, captions, modalities and files, but no pixels."""

    sample: Sample
    files: Mapping[str, Modality] = field(default_factory=dict)
    problem: str | None = None

    @property
    def name(self) -> str:
        """The sample's id."""
        return self.sample.labels.sample_id

    def file(self, modality: Modality | None = None) -> str:
        """The file of a modality, or the first one; the sample's id where it has none."""
        mine = (uri for uri, m in self.files.items() if modality in (None, m))
        return next(mine, None) or next(iter(self.files), self.name)

    @property
    def split(self) -> str:
        """train, val or test."""
        return self.sample.labels.split

    @property
    def identity(self) -> tuple[str, int]:
        """(dataset, pid)."""
        return self.sample.identity


class ExaminedSource(ABC):
    """Captures, and a way to read the pixels of some of them."""

    entries: Sequence[ExaminedSample]

    @abstractmethod
    def load(self, wanted: Sequence[int]) -> Iterator[tuple[int, Sample | str]]:
        """The samples with these positions in `entries`, or why one cannot be read.

        Yields one at a time, in any order. Raises StorageError when the storage itself fails.
        """


class ReaderSource(ExaminedSource):
    """The records of a reader."""

    def __init__(self, reader: Reader, records: Sequence[Record], max_pixels: int) -> None:
        self.reader, self.records, self.max_pixels = reader, records, max_pixels
        self.captions_unlisted = False
        """Every capture will have a caption that the records do not name."""
        self.entries = [entry_of(r) for r in self._listed_records()]

    def _listed_records(self) -> Sequence[Record]:
        """The records; where none names a file or caption (rendered data), with what the first one shows."""
        if not self.records or any(r.images or r.captions or r.problem for r in self.records):
            return self.records
        first = read_sample(self.reader, self.records[0], self.max_pixels)
        there = dict.fromkeys(first.images, "") if isinstance(first, Sample) else {}
        self.captions_unlisted = isinstance(first, Sample) and bool(first.captions)
        return [replace(r, images=there) for r in self.records]

    def load(self, wanted: Sequence[int]) -> Iterator[tuple[int, Sample | str]]:
        """Read and decode one record after the other."""
        for index in wanted:
            yield index, read_sample(self.reader, self.records[index], self.max_pixels)


class ShardSource(ExaminedSource):
    """The samples of a built set; one row group at a time is in memory."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards = shards
        self.splits = [*SPLITS, *sorted(set(shards.stored.splits) - set(SPLITS))]
        self.entries = [ExaminedSample(_listed(s)) for split in self.splits for s in shards.labels(split)]

    def load(self, wanted: Sequence[int]) -> Iterator[tuple[int, Sample | str]]:
        """Read the row groups that hold a wanted sample."""
        index_of = {(self.entries[i].split, self.entries[i].name): i for i in wanted}
        for split in self.splits:
            for group in self.shards.groups(split):
                if any((split, name) in index_of for name in self.shards.sample_ids(group)):
                    for sample in self.shards.read_group(group):
                        index = index_of.get((split, sample.labels.sample_id))
                        if index is not None:
                            yield index, sample


def entry_of(record: Record) -> ExaminedSample:
    """A reader's record as an entry."""
    sample = Sample(
        labels=record.labels,
        images={m: Image(_LISTED, 0, 0) for m in record.images},
        captions=tuple(Caption(text) for text in record.captions),
    )
    files: dict[str, Modality] = {}
    for modality, uri in record.images.items():
        if uri:
            files.setdefault(uri, modality)  # one strip may hold every modality
    return ExaminedSample(sample, files, record.problem)


def read_sample(reader: Reader, record: Record, max_pixels: int) -> Sample | str:
    """The sample, or why its files cannot be used. Raises StorageError when the storage itself fails."""
    try:
        return reader.load(record, max_pixels)
    except AnyReIDError as problem:
        cause = problem.__cause__
        bad_file = isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError)
        if isinstance(problem, StorageError) and not bad_file:
            raise
        return str(problem)


def whole_shards(shards: ShardSet, thorough: bool) -> tuple[ShardSet, list[Finding]]:
    """The set without its damaged files, and what is wrong with those and with the rows set aside.

    Sizes are always compared with the manifest; checksums too when `thorough`.
    """
    damaged: dict[str, list[str]] = defaultdict(list)
    good: list[int] = []
    listed = (shards.stored.column(name) for name in ("file", "bytes", "sha256"))
    for place, (file, length, digest) in enumerate(zip(*listed, strict=True)):
        uri = storage.join(shards.root, "data", file)
        size = storage.stamp(uri).partition("@")[0]
        if size == "missing":
            damaged["shard-missing"].append(uri)
        elif size != str(length) or (thorough and _digest(uri) != digest):
            damaged["shard-damaged"].append(uri)
        else:
            good.append(place)
    what = {"shard-missing": "are missing", "shard-damaged": "differ from what the manifest lists"}
    findings = [
        Finding(
            "error",
            code,
            f"{len(files)} of {len(shards.manifest.shards)} shard files {what[code]}.",
            files[0],
            "run the same `python -m jobs.build` again: it makes only what is missing or cut short; delete a "
            "damaged file of the right length first",
            len(files),
            tuple(files),
        )
        for code, files in damaged.items()
    ]
    aside = shards.manifest.quarantine_rows
    stages = Counter(str(row.get("stage")) for row in aside)
    if aside:
        reasons = ", ".join(f"{stage}: {count}" for stage, count in sorted(stages.items()))
        findings.append(
            Finding(
                "warning",
                "set-aside",
                f"{len(aside)} rows were set aside when the set was built ({reasons}).",
                str(aside[0].get("reason")),
                "repair the source and build again; quarantine.parquet names every row and its reason",
                len(aside),
                tuple(str(row.get("sample_id")) for row in aside),
            )
        )
    left = shards.manifest.model_copy(update={"shards": shards.stored.take(good)})
    return ShardSet(shards.root, left), findings


def _digest(uri: str) -> str:
    return storage.sha256(storage.read_bytes(uri))


def _listed(sample: Sample) -> Sample:
    """A sample whose pictures were left unread, marked as listed."""
    images = {
        m: Image(_LISTED, i.width, i.height, i.origin, i.generator, i.params_hash, i.source_id)
        for m, i in sample.images.items()
    }
    return Sample(sample.labels, images, sample.captions, None, sample.content_hash)
