"""The reader interface: a folder becomes records, and a record becomes a sample with its pixels.

A reader is one file or folder of this package that defines `Config` (a reid.config.Plugin) and `Reader`.
`records()` lists the captures and reads no pixels; `load()` reads one record and runs in a worker.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reid import storage
from reid.config import Plugin
from reid.data.images import (
    DEFAULT_SENSORS,
    SensorSettings,
    check_whole,
    deep_png,
    encode_mask,
    encode_png,
    is_one_bit_png,
    is_plain,
    open_image,
    read_picture,
)
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample
from reid.errors import DataError
from reid.modality import PHOTO, Modality

Note = Callable[[str], None]
"""Takes a line of what was read otherwise than written: `Reader.note`."""


def unheard(line: str) -> None:
    """A Note for callers that have nobody to tell."""


@dataclass(frozen=True)
class Record:
    """A capture before its pixels are read: its labels and the path of each modality's file.

    >>> labels = Labels(sample_id="0001/c1", dataset="mine", split="train", pid=1)
    >>> Record(labels, images={Modality.RGB: "photos/0001_c1.jpg"}).captions
    ()
    """

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
    """Reads one public data set or folder layout. Subclasses implement `records`.

    Args:
        config: the reader's own `Config`, checked.
        dataset: name of the data set; part of every sample's labels.

    >>> class OneRow(Reader):
    ...     def records(self):
    ...         return [Record(Labels(sample_id="a", dataset=self.dataset, split="test", pid=7))]
    >>> OneRow(None, "mine").records()[0].labels.pid
    7
    """

    sensors: SensorSettings = DEFAULT_SENSORS
    """How deep pictures become 8 bits; `open_reader` sets it."""

    def __init__(self, config: Any, dataset: str) -> None:
        self.config = config
        self.dataset = dataset
        self.notes: list[str] = []
        """What `records()` took otherwise than written, or passed over: a line each, "what; remedy"."""

    def note(self, line: str) -> None:
        """Add a line to `notes`, once however often `records()` is called."""
        if line not in self.notes:
            self.notes.append(line)

    def with_left_out(self, records: Sequence[Record], walk: storage.Walk) -> list[Record]:
        """The records, and one for every picture that the walk found but nobody can read.

        What else the walk left out is added to `notes`.
        """
        for line in walk.notes():
            self.note(line)
        return [*records, *(self._set_aside(walk, one) for one in walk.broken)]

    def _set_aside(self, walk: storage.Walk, one: storage.UnreadEntry) -> Record:
        name = one.uri.removeprefix(walk.root).strip("/")
        return Record(Labels(name, self.dataset, split="unknown", pid=-1), problem=one.problem)

    @abstractmethod
    def records(self) -> Sequence[Record]:
        """List every capture, in an order that is the same on every machine.

        Raises DataError with the expected layout and the found one when the folder does not fit.
        """

    def iter_records(self) -> Iterator[Record]:
        """The same captures one by one. A build takes them from here, so that what can list captures without
        holding them overrides it: a million records held take about 1 GiB.
        """
        yield from self.records()

    def recognises(self) -> bool | None:
        """Whether the folder has this reader's layout, by a cheap look; None: try `records()` instead.

        Override it where listing is slow, or where another data set has a similar folder.
        """
        return None

    def key(self, record: Record) -> Any:
        """A JSON-able description of a record's input: it changes when the labels or the files change.

        Args:
            record: one of `records()`. Files count by their size and time of change; they are not read.
        """
        files = [[m.value, uri, storage.stamp(uri)] for m, uri in sorted(record.images.items())]
        if record.mask:
            files.append(["mask", record.mask, storage.stamp(record.mask)])
        known = [label_values(record.labels), files, record.captions, record.problem]
        return [*known, record.details] if record.details else known

    def load(self, record: Record, max_pixels: int) -> Sample:
        """Read a record's files into a sample.

        Args:
            record: one of `records()`.
            max_pixels: largest number of pixels of an image.

        Returns:
            The sample with encoded images, mask and captions, and the SHA-256 of its images' bytes.

        Raises DataError naming the file that cannot be used.
        """
        if record.problem:
            raise DataError(record.problem)
        images: dict[Modality, Image] = {}
        digests = []
        for modality, uri in record.images.items():
            data = storage.read_bytes(uri)
            for kind, image in to_images(data, uri, max_pixels, modality, self.sensors).items():
                if kind is modality or kind not in record.images:
                    images[kind] = image
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
        """Add what only this reader knows to a sample just read, e.g. which images were generated."""
        return sample


def label_values(labels: Labels) -> dict[str, Any]:
    """Labels as JSON-able values, as `dataclasses.asdict` gives them, without its deep copies.

    >>> label_values(Labels(sample_id="a", dataset="mine", split="test", pid=7))["pid"]
    7
    """
    return {**vars(labels), "attributes": [vars(one) for one in labels.attributes]}


def to_image(data: bytes, source: str, max_pixels: int) -> Image:
    """Check that an image decodes and is whole, and store its bytes.

    Args:
        data: encoded bytes.
        source: path for error messages.
        max_pixels: largest number of pixels.

    Returns:
        The bytes unchanged; re-encoded as PNG only where they are not 8-bit, upright and of one frame.
        `notes` tells what else there is to know of it.

    Raises DataError naming `source`.

    >>> png = encode_png(np.zeros((4, 2, 3), np.uint8))
    >>> image = to_image(png, "a.png", max_pixels=100)
    >>> (image.width, image.height, image.image == png)
    (2, 4, True)
    """
    return to_images(data, source, max_pixels, PHOTO)[PHOTO]


def to_images(
    data: bytes, source: str, max_pixels: int, modality: Modality, sensors: SensorSettings = DEFAULT_SENSORS
) -> dict[Modality, Image]:
    """As `to_image`, by the settings of a sensor; a fourth band that they take is a picture more.

    >>> png = encode_png(np.zeros((4, 2, 3), np.uint8))
    >>> list(to_images(png, "a.png", 100, Modality.NIR))
    [<Modality.NIR: 'nir'>]
    """
    decoded = read_picture(data, source, max_pixels, sensors.rule(modality), sensors.takes_fourth(modality))
    check_whole(data, source)
    shown = decoded.image
    deep = deep_png(data) if modality.entry.bits == 16 else None
    if deep is not None:
        data = deep
    elif not is_plain(data):
        data = encode_png(np.asarray(shown))
    found = {modality: Image(data, shown.width, shown.height, notes=decoded.notes)}
    if decoded.fourth is not None and sensors.fourth is not None:
        found[sensors.fourth] = Image(encode_png(np.asarray(decoded.fourth)), shown.width, shown.height)
    return found


def to_mask(data: bytes, source: str, max_pixels: int) -> bytes:
    """Convert an image to a 1-bit PNG: True where it is brighter than half.

    Args:
        data: encoded bytes; a 1-bit PNG is returned unchanged.
        source: path for error messages.
        max_pixels: largest number of pixels.

    Raises DataError naming `source`.

    >>> is_one_bit_png(to_mask(encode_png(np.full((4, 2), 200, np.uint8)), "mask.png", 100))
    True
    """
    decoded = open_image(data, source, max_pixels)
    check_whole(data, source)
    if is_one_bit_png(data):
        return data
    return encode_mask(np.asarray(decoded.convert("L")) > 127)


def open_reader(section: Plugin, dataset: str, sensors: SensorSettings = DEFAULT_SENSORS) -> Reader:
    """Build the reader that a configuration's `data.reader` names.

    Args:
        section: the validated section (`config.data.reader`).
        dataset: name of the data set.
        sensors: how pictures of more than 8 bits become 8 bits (`SensorSettings.of(config.data)`).

    >>> from reid.data.readers.synthetic import Config
    >>> len(open_reader(Config(train_identities=2, test_identities=1, cameras=2), "rendered").records())
    12
    """
    module = importlib.import_module(f"reid.data.readers.{section.name}")
    reader: Reader = module.Reader(section, dataset)
    reader.sensors = sensors
    return reader
