"""Rendered identities: the data set that needs no download.

Identities are numbered from `id_offset`: train, then val, then test. Sketches, sentences and masks come from
the renderer's ground truth, not from the pictures, so they count as captured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from reid import storage
from reid.config import Modalities, Plugin
from reid.data import images, synthetic
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample, SampleAttribute
from reid.data.synthetic import Capture, SyntheticConfig, make_identity, render_capture
from reid.errors import DataError
from reid.modality import ORDER, Modality

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
    modalities: Modalities = Field(ORDER, description="modalities that are kept of each capture")
    height: int = Field(128, ge=16, description="height of the images in pixels")
    width: int = Field(64, ge=16, description="width of the images in pixels")
    id_offset: int = Field(
        0, ge=0, description="first identity number; sets with disjoint numbers share no identity"
    )
    format: Literal["png", "jpeg"] = Field("png", description="encoding of the images")


class Reader(base.Reader):
    """Lists the captures, and renders them one by one."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every capture, by identity, camera and number. Raises DataError if there is none."""
        counts = {
            "train": self.config.train_identities,
            "val": self.config.val_identities,
            "test": self.config.test_identities,
        }
        splits = [split for split, count in counts.items() for _ in range(count)]
        if not splits:
            raise DataError(
                "data.reader: nothing to render; set train_identities, val_identities or test_identities."
            )
        return [
            Record(labels=self._labels(split, self.config.id_offset + number, camid, index))
            for number, split in enumerate(splits)
            for camid in range(self.config.cameras)
            for index in range(self.config.captures)
        ]

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
            asdict(record.labels),
            asdict(self._renderer),
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
        assert labels.camid is not None, "records() sets it"
        renderer = self._renderer
        identity = make_identity(renderer, labels.pid)
        capture = render_capture(renderer, identity, labels.camid, int(labels.extra["capture"]))
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

    @property
    def _renderer(self) -> SyntheticConfig:
        return SyntheticConfig(
            seed=self.config.seed,
            kind=self.config.kind,
            height=self.config.height,
            width=self.config.width,
            difficulty=self.config.difficulty,
            num_cameras=self.config.cameras,
            id_offset=self.config.id_offset,
        )

    def _encode(self, capture: Capture, modality: Modality) -> Image:
        pixels = getattr(capture, modality.value)
        encode = images.encode_png if self.config.format == "png" else images.encode_jpeg
        return Image(image=encode(pixels), width=self.config.width, height=self.config.height)


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
