"""Rendered identities: the data set that needs no download.

Identities are numbered from `id_offset`: train, then val, then test. Sketches, sentences and masks come from
the renderer's ground truth, not from the pictures, so they count as captured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from reid import storage
from reid.config import Modalities, Plugin
from reid.data import images, synthetic
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample, SampleAttribute
from reid.data.synthetic import Capture, SyntheticConfig, make_identity, render_capture
from reid.data.synthetic.version2 import (
    PICTURES,
    SHARING,
    Version2Capture,
    Version2Config,
    render,
)
from reid.errors import DataError
from reid.modality import Modality, parse_subset

VERSION_1_PICTURES = ("rgb", "nir", "tir", "sketch")
_LABELLED = {"viewid", "timestamp", "camera"}  # conditions with a field of their own in Labels


class Config(Plugin):
    """What to render. Each identity is seen `captures` times by each of `cameras`."""

    name: Literal["synthetic"] = Field(
        "synthetic", description="renderer of synthetic identities; reads no files"
    )
    seed: int = Field(0, ge=0, description="random seed of the identities and their captures")
    kind: Literal["person", "vehicle"] = Field(
        "person", description="objects that are rendered: persons or vehicles"
    )
    version: Literal[1, 2] = Field(
        1,
        description="how identities are rendered: 1 draws each sensor's cues apart, 2 shows one geometry in "
        "all modalities",
    )
    shared_cues: float | dict[str, float] = Field(
        1.0,
        description="version 2: probability, 0 to 1, that a cue of an identity looks in a modality as it "
        "does in RGB; one number for all, or one by modality, such as {nir: 0.5}",
    )
    difficulty: float = Field(
        0.5,
        ge=0,
        le=1,
        description="strength of pose, light, noise and occlusion, from 0 (none) to 1 (very hard)",
    )
    train_identities: int = Field(64, ge=0, description="number of identities in the split train")
    val_identities: int = Field(0, ge=0, description="number of identities in the split val")
    test_identities: int = Field(32, ge=0, description="number of identities in the split test")
    cameras: int = Field(4, ge=1, description="number of cameras; each sees every identity")
    captures: int = Field(2, ge=1, description="captures of each identity by each camera")
    modalities: Modalities = Field(
        parse_subset("rgb+nir+tir+sketch+text"), description="modalities that are kept of each capture"
    )
    height: int = Field(128, ge=16, description="height of the images in pixels")
    width: int = Field(64, ge=16, description="width of the images in pixels")
    id_offset: int = Field(
        0, ge=0, description="first identity number; sets with disjoint numbers share no identity"
    )
    format: Literal["png", "jpeg"] = Field("png", description="encoding of the images")

    @model_validator(mode="after")
    def _rendered(self) -> Self:
        """Refuse what the version cannot render."""
        rendered = PICTURES if self.version == 2 else VERSION_1_PICTURES
        for modality in self.modalities:
            if modality.is_visual and modality.value not in rendered:
                other = " version: 2 renders it." if modality.value in PICTURES else ""
                raise ValueError(f"version {self.version} does not render {modality.value}.{other}")
        if self.version == 1 and self.shared_cues != 1.0:
            raise ValueError("shared_cues needs version: 2; version 1 shares no cues between its sensors.")
        self.renderer()
        return self

    def renderer(self) -> SyntheticConfig:
        """The settings of the renderer. Raises ValueError for shares of unknown modalities."""
        common: dict[str, Any] = {
            "seed": self.seed,
            "kind": self.kind,
            "height": self.height,
            "width": self.width,
            "difficulty": self.difficulty,
            "num_cameras": self.cameras,
            "id_offset": self.id_offset,
        }
        if self.version == 1:
            return SyntheticConfig(**common)
        shares = self.shared_cues
        if not isinstance(shares, dict):
            shares = {} if shares == 1.0 else dict.fromkeys(SHARING, shares)
        return Version2Config(**common, shared_cues=shares)


class Reader(base.Reader):
    """Lists the captures, and renders them one by one."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every capture, by identity, camera and number. Raises DataError if there is none."""
        return list(self.iter_records())

    def iter_records(self) -> Iterator[Record]:
        """The same, one by one."""
        counts = {
            "train": self.config.train_identities,
            "val": self.config.val_identities,
            "test": self.config.test_identities,
        }
        if not any(counts.values()):
            raise DataError(
                "data.reader: nothing to render; set train_identities, val_identities or test_identities."
            )
        number = self.config.id_offset
        for split, count in counts.items():
            for pid in range(number, number + count):
                for camid in range(self.config.cameras):
                    for index in range(self.config.captures):
                        yield Record(labels=self._labels(split, pid, camid, index))
            number += count

    def _labels(self, split: str, pid: int, camid: int, index: int) -> Labels:
        return Labels(
            sample_id=f"{pid:06d}_c{camid}_{index:03d}",
            dataset=self.dataset,
            split=split,
            pid=pid,
            camid=camid,
            extra={"capture": str(index)},
        )

    def key(self, record: Record) -> Any:
        """The labels, the renderer's settings and its source; not the number of other identities."""
        kept = [m.value for m in self.config.modalities]
        return [
            base.label_values(record.labels),
            self._drawn,
            kept,
            self.config.format,
            source_hash(),
        ]

    def load(self, record: Record, max_pixels: int) -> Sample:
        """Render a record. Raises DataError when pictures of this size are over `max_pixels`."""
        if record.problem:
            raise DataError(record.problem)
        height, width = self.config.height, self.config.width
        if height * width > max_pixels:
            raise DataError(
                f"data.reader: {width}x{height} exceeds the limit of {max_pixels:,} pixels "
                "(build.max_pixels); render smaller pictures."
            )
        labels = record.labels
        capture = self._capture(labels)
        pictures = {m: self._encode(capture, m) for m in self.config.modalities if m.is_visual}
        digests = "".join(storage.sha256(picture.image) for picture in pictures.values())
        spoken = capture.captions if Modality.TEXT in self.config.modalities else ()
        conditions = {k: v for k, v in capture.conditions.items() if k not in _LABELLED}
        return Sample(
            labels=replace(
                labels,
                viewid=capture.viewid,
                timestamp=float(capture.timestamp),
                attributes=tuple(SampleAttribute(*a, source="renderer") for a in capture.attributes),
                extra=labels.extra | {k: _spelled(v) for k, v in conditions.items()},
            ),
            images=pictures,
            captions=tuple(Caption(text=text) for text in spoken),
            mask=Mask(image=images.encode_mask(capture.mask), score=1.0),
            content_hash=storage.sha256(digests.encode()) if digests else None,
        )

    @cached_property
    def _drawn(self) -> dict[str, Any]:
        return asdict(self._renderer)

    @cached_property
    def _renderer(self) -> SyntheticConfig:
        return self.config.renderer()

    def _capture(self, labels: Labels) -> Capture | Version2Capture:
        """Render the capture of these labels; version 2 only the pictures that are kept."""
        assert labels.camid is not None, "records() sets it"
        renderer, index = self._renderer, int(labels.extra["capture"])
        if isinstance(renderer, Version2Config):
            wanted = [m.value for m in self.config.modalities if m.is_visual]
            return render(renderer, labels.pid, labels.camid, index, wanted)
        return render_capture(renderer, make_identity(renderer, labels.pid), labels.camid, index)

    def _encode(self, capture: Capture | Version2Capture, modality: Modality) -> Image:
        pixels = capture.pictures[modality.value]
        if self.config.format == "png" or pixels.dtype == np.uint16:  # JPEG has no 16 bits
            image = images.encode_png(pixels)
        else:
            image = images.encode_jpeg(pixels.astype(np.uint8, copy=False))
        return Image(image=image, width=self.config.width, height=self.config.height)


@cache
def source_hash() -> str:
    """12 hex digits over the code that makes the pixels and their bytes."""
    renderer = Path(synthetic.__file__).parent
    files = [*sorted(renderer.rglob("*.py")), Path(images.__file__), Path(__file__)]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def _spelled(value: Any) -> str:
    """A condition as short text: numbers to four digits, sequences as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return json.dumps([round(v, 4) if isinstance(v, float) else v for v in value])
    return str(value)
