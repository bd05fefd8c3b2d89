"""The reader interface: a folder (or a renderer) -> records; a record -> a sample with its pixels.

A reader is one file in this package that defines `Config` (a reid.config.Plugin) and `Reader`. `records()`
is cheap and touches no pixels; `load()` runs in a worker, one record at a time.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from reid import storage
from reid.config import Plugin
from reid.data.images import encode_mask, encode_png, is_one_bit_png, is_plain, open_image
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample
from reid.errors import DataError
from reid.modality import Modality


@dataclass(frozen=True)
class Record:
    """A capture before its pixels are read: labels, and where each modality's file is."""

    labels: Labels
    images: dict[Modality, str] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    problem: str | None = None
    """Why the reader already knows that this row is bad (a CSV row naming a missing file)."""
    mask: str | None = None
    """Where the mask's file is."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON-able: what the reader itself wants to find again in load()."""


class Reader(ABC):
    """Reads one public data set or layout."""

    def __init__(self, config: Any, dataset: str) -> None:
        self.config = config
        self.dataset = dataset

    @abstractmethod
    def records(self) -> Sequence[Record]:
        """Every capture, in an order that is the same on every machine.

        Raises DataError showing the expected layout and what was found when the folder does not fit.
        """

    def recognises(self) -> bool | None:
        """A cheap answer to "is this folder mine?"; None: whether records() succeeds decides.

        Worth overriding where listing is slow, or where another data set's folder looks alike.
        """
        return None

    def key(self, record: Record) -> Any:
        """JSON-able description of a record's input; changes when its labels or files do."""
        files = [[m.value, uri, storage.stamp(uri)] for m, uri in sorted(record.images.items())]
        if record.mask:
            files.append(["mask", record.mask, storage.stamp(record.mask)])
        known = [asdict(record.labels), files, record.captions, record.problem]
        return [*known, record.details] if record.details else known

    def load(self, record: Record, max_pixels: int) -> Sample:
        """Read a record's files. Raises DataError naming the file that cannot be used."""
        if record.problem:
            raise DataError(record.problem)
        images: dict[Modality, Image] = {}
        digests = []
        for modality, uri in record.images.items():
            data = storage.read_bytes(uri)
            images[modality] = to_image(data, uri, max_pixels)
            digests.append(storage.sha256(data))
        mask = None
        if record.mask:
            mask = Mask(image=to_mask(storage.read_bytes(record.mask), record.mask, max_pixels))
        sample = Sample(
            labels=record.labels,
            images=images,
            captions=tuple(Caption(text=t) for t in record.captions),
            mask=mask,
            content_hash=storage.sha256("".join(digests).encode()) if digests else None,
        )
        return self.complete(record, sample)

    def complete(self, record: Record, sample: Sample) -> Sample:
        """What the reader knows besides of a sample that was just read: where its parts come from."""
        return sample


def to_image(data: bytes, source: str, max_pixels: int) -> Image:
    """Check that bytes decode, and keep them as they are unless they need 8-bit or upright form."""
    decoded = open_image(data, source, max_pixels)
    if not is_plain(data):
        data = encode_png(np.asarray(decoded))
    return Image(image=data, width=decoded.width, height=decoded.height)


def to_mask(data: bytes, source: str, max_pixels: int) -> bytes:
    """A 1-bit PNG of a picture: True where it is brighter than half. One that is 1-bit PNG stays as it is.

    Raises DataError naming `source`.
    """
    decoded = open_image(data, source, max_pixels)
    if is_one_bit_png(data):
        return data
    return encode_mask(np.asarray(decoded.convert("L")) > 127)


def open_reader(section: Plugin, dataset: str) -> Reader:
    """The reader that a config's `data.reader` names."""
    module = importlib.import_module(f"reid.data.readers.{section.name}")
    reader: Reader = module.Reader(section, dataset)
    return reader
