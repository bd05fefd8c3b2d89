"""The sample: one capture, its labels and its encoded modalities; and its Arrow schema.

One Parquet row = one sample. Images stay encoded; there are no Ray extension types, so any tool can read a
shard. The schema version travels in every file's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reid.data.images.notes import PictureNote
from reid.errors import DataError
from reid.modality import PHOTO, VISUAL, Modality, Subset, canonical, parse_modality, subset_name

SCHEMA_VERSION = "1"
SPLITS = ("train", "val", "test")
ROLES = ("query", "gallery")


@dataclass(frozen=True)
class Image:
    """An encoded picture of one modality (PNG, JPEG, …) and where it comes from."""

    image: bytes = field(repr=False)
    width: int
    height: int
    origin: str = "captured"
    generator: str | None = None
    params_hash: str | None = None
    source_id: str | None = None
    notes: tuple[PictureNote, ...] = field(default=(), compare=False)
    """What should be told of the picture when it is read from its raw file; not stored."""


@dataclass(frozen=True)
class Caption:
    """A sentence about the object."""

    text: str
    confidence: float | None = None
    origin: str = "captured"
    generator: str | None = None
    params_hash: str | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class Mask:
    """A 1-bit PNG: 1 where the object is."""

    image: bytes = field(repr=False)
    score: float | None = None
    origin: str = "captured"
    generator: str | None = None
    params_hash: str | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class SampleAttribute:
    """A named property of the object, e.g. upper_colour = red."""

    name: str
    value: str
    confidence: float | None = None
    source: str | None = None


@dataclass(frozen=True)
class Labels:
    """Everything known about a capture but its pixels and texts. All but the first four may be unknown."""

    sample_id: str
    dataset: str
    split: str
    pid: int
    roles: tuple[str, ...] | None = None
    camid: int | None = None
    viewid: int | None = None
    location: str | None = None
    timestamp: float | None = None
    tracklet_id: str | None = None
    attributes: tuple[SampleAttribute, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """A capture: labels, at most one image a visual modality, captions, and an optional mask."""

    labels: Labels
    images: dict[Modality, Image]
    captions: tuple[Caption, ...] = ()
    mask: Mask | None = None
    content_hash: str | None = None

    @property
    def identity(self) -> tuple[str, int]:
        """(dataset, pid): what an identity keys on."""
        return self.labels.dataset, self.labels.pid

    @property
    def modalities(self) -> Subset:
        """The modalities that this sample has."""
        return canonical([*self.images, *([Modality.TEXT] if self.captions else [])])

    def pixels(self, modality: str = PHOTO) -> npt.NDArray[np.uint8]:
        """The picture of a modality, decoded: (H, W, 3) uint8 in 0..255, one channel repeated three times.

        Raises UsageError for an unknown modality, DataError where the sample has no picture of it.

        >>> reid.open_shards("runs/shards/mine")[0].pixels("rgb").shape
        (8, 8, 3)
        """
        from reid.data.images import DEFAULT_SENSORS, decode_rgb

        kind = parse_modality(modality)
        found = self.images.get(kind)
        if found is None:
            has = subset_name(self.images) or "none"
            raise DataError(f"{self.labels.sample_id}: no picture of {modality}; pictures of it: {has}.")
        return decode_rgb(found.image, self.labels.sample_id, value_range=DEFAULT_SENSORS.rule(kind))


_PROVENANCE = [
    ("origin", pa.string()),
    ("generator", pa.string()),
    ("params_hash", pa.string()),
    ("source_id", pa.string()),
]
_IMAGE = pa.struct(
    [("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), *_PROVENANCE],
)
_CAPTION = pa.struct([("text", pa.string()), ("confidence", pa.float32()), *_PROVENANCE])
_MASK = pa.struct([("image", pa.binary()), ("score", pa.float32()), *_PROVENANCE])
_ATTRIBUTE = pa.struct(
    [("name", pa.string()), ("value", pa.string()), ("confidence", pa.float32()), ("source", pa.string())]
)
_LABEL_FIELDS = [
    pa.field("sample_id", pa.string(), nullable=False),
    pa.field("dataset", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("pid", pa.int64(), nullable=False),
    pa.field("roles", pa.list_(pa.string())),
    pa.field("camid", pa.int32()),
    pa.field("viewid", pa.int32()),
    pa.field("location", pa.string()),
    pa.field("timestamp", pa.float64()),
    pa.field("tracklet_id", pa.string()),
    pa.field("attributes", pa.list_(_ATTRIBUTE)),
    pa.field("extra", pa.map_(pa.string(), pa.string())),
]
LABEL_COLUMNS = [f.name for f in _LABEL_FIELDS]
_VISUAL_COLUMNS = [(m, m.value) for m in VISUAL]
_VISUAL_NAMES = frozenset(m.value for m in VISUAL)
_LABEL_NAMES = frozenset(f.name for f in fields(Labels))
SCHEMA = pa.schema(
    [
        *_LABEL_FIELDS,
        pa.field("content_hash", pa.string()),
        *(pa.field(m.value, _IMAGE) for m in VISUAL),
        pa.field("captions", pa.list_(_CAPTION)),
        pa.field("mask", _MASK),
    ],
    metadata={"anyreid.schema_version": SCHEMA_VERSION},
)


def validate(sample: Sample) -> list[str]:
    """What is wrong with a sample, one sentence each; empty when it is well-formed."""
    labels = sample.labels
    problems = []
    for name in ("sample_id", "dataset"):
        if not getattr(labels, name):
            problems.append(f"{name} is empty")
    if labels.split not in SPLITS:
        problems.append(f"split is {labels.split!r}, not one of {', '.join(SPLITS)}")
    for role in labels.roles or ():
        if role not in ROLES:
            problems.append(f"role is {role!r}, not one of {', '.join(ROLES)}")
    if labels.pid < 0:
        problems.append(f"pid is {labels.pid}; identities are numbered from 0")
    if not sample.modalities:
        problems.append("no modality at all: neither an image nor a caption")
    for caption in sample.captions:
        if not caption.text.strip():
            problems.append("an empty caption")
    for modality, image in sample.images.items():
        if not modality.is_visual:
            problems.append(f"{modality.value} cannot be an image")
        if not image.image:
            problems.append(f"{modality.value} image is empty")
    if sample.mask is not None and not sample.mask.image:
        problems.append("the mask is empty")
    return problems


def encode(samples: Sequence[Sample]) -> pa.Table:
    """Samples to an Arrow table of SCHEMA."""
    return pa.Table.from_pylist([_to_row(s) for s in samples], schema=SCHEMA)


def decode(table: pa.Table) -> list[Sample]:
    """An Arrow table to samples. Columns may be a subset as long as the labels are among them.

    Raises DataError when a label column is missing.
    """
    missing = [c for c in ("sample_id", "dataset", "split", "pid") if c not in table.column_names]
    if missing:
        raise DataError(f"Not a sample table: column(s) {', '.join(missing)} missing.")
    return [_from_row(row) for row in table.to_pylist()]


def check_version(metadata: dict[bytes, bytes] | None, source: str) -> None:
    """Raise DataError unless a file's metadata carries this schema version."""
    found = (metadata or {}).get(b"anyreid.schema_version", b"none").decode()
    if found != SCHEMA_VERSION:
        raise DataError(f"{source}: sample schema version {found}, expected {SCHEMA_VERSION}; build it anew.")


def check_columns(found: pa.Schema, source: str) -> None:
    """Raise DataError unless the columns of a file are those of SCHEMA.

    Columns of pictures may lack: those of modalities that were registered after the file was written.
    """
    columns = {f.name: f for f in found}
    strangers = [n for n in columns if n not in SCHEMA.names]
    pictures = [n for n in strangers if columns[n].type.equals(_IMAGE)]
    if pictures:
        refuse_strangers(pictures, source)
    lost = [f.name for f in SCHEMA if f.name not in columns and f.name not in _VISUAL_NAMES]
    other = [f.name for f in SCHEMA if f.name in columns and not columns[f.name].equals(f)]
    if odd := [*strangers, *lost, *other]:
        raise DataError(f"{source}: its columns are not those of the sample schema ({', '.join(odd)}).")


def refuse_strangers(names: Iterable[str], source: str) -> None:
    """Raise DataError for the first name of a modality that is not registered here."""
    for name in names:
        if name not in Modality.known:
            raise DataError(
                f"{source}: it holds the modality {name!r}, which nothing registers here; install the "
                f"package that defines it. Known: {', '.join(Modality.known)}."
            )


def _to_row(sample: Sample) -> dict[str, Any]:
    labels = sample.labels
    row: dict[str, Any] = {f.name: getattr(labels, f.name) for f in fields(Labels)}
    row["attributes"] = [vars(a) for a in labels.attributes]
    row["extra"] = list(labels.extra.items())
    row["content_hash"] = sample.content_hash
    for modality in VISUAL:
        image = sample.images.get(modality)
        row[modality.value] = None if image is None else _stored(image)
    row["captions"] = [vars(c) for c in sample.captions]
    row["mask"] = None if sample.mask is None else vars(sample.mask)
    return row


def _stored(image: Image) -> dict[str, Any]:
    return {name: value for name, value in vars(image).items() if name != "notes"}


def _from_row(row: dict[str, Any]) -> Sample:
    values = {k: v for k, v in row.items() if k in _LABEL_NAMES}
    values["roles"] = None if values.get("roles") is None else tuple(values["roles"])
    values["attributes"] = tuple(SampleAttribute(**a) for a in values.get("attributes") or ())
    values["extra"] = dict(values.get("extra") or ())
    images = {m: Image(**row[name]) for m, name in _VISUAL_COLUMNS if row.get(name) is not None}
    return Sample(
        labels=Labels(**values),
        images=images,
        captions=tuple(Caption(**c) for c in row.get("captions") or ()),
        mask=None if row.get("mask") is None else Mask(**row["mask"]),
        content_hash=row.get("content_hash"),
    )
