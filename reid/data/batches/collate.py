"""Parts -> Batch: decoding with a bounded cache, optional augmentation, tokens, labels, auxiliary inputs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from reid.config import AugmentConfig, DataConfig
from reid.data.batches.auxiliary_inputs import captions_of, masks_of
from reid.data.batches.batch import UNKNOWN, Batch
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.tokens import tokenize
from reid.data.batches.transforms import (
    Geometry,
    apply_geometry,
    draw_geometry,
    erase,
    jitter,
    normalise,
    random_channel,
)
from reid.data.images import Pixels, SensorSettings, decode_rgb
from reid.errors import ConfigError
from reid.modality import ORDER, PHOTO, Modality


class PixelCache:
    """Decoded and resized images by name, with a byte limit (least recently used); safe for threads."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit = limit_bytes
        self.used = 0
        self._items: OrderedDict[str, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Pixels | None:
        """The image, or None."""
        with self._lock:
            found = self._items.get(name)
            if found is not None:
                self._items.move_to_end(name)
            return found

    def put(self, name: str, pixels: Pixels) -> None:
        """Store an image unless it alone exceeds the limit."""
        with self._lock:
            if pixels.nbytes > self.limit or name in self._items:
                return
            self._items[name] = pixels
            self.used += pixels.nbytes
            while self.used > self.limit:
                self.used -= self._items.popitem(last=False)[1].nbytes


@dataclass
class Collator:
    """Turns rows into batches for one data configuration.

    `cameras` maps a camid to its contiguous label; others become UNKNOWN. `augment` None means evaluation,
    which resizes with `data.resize`; training resizes with `augment.resize`. Collators may share a cache.
    `auxiliary` names the auxiliary inputs that batches contain: "caption", "mask". Raises ConfigError for
    masks together with independent geometry of a row's images.
    """

    data: DataConfig
    cameras: Mapping[int, int] = field(default_factory=dict)
    augment: AugmentConfig | None = None
    context: int = 77
    cache: PixelCache | None = None
    auxiliary: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        apart = self.augment is not None and self.augment.geometry == "independent"
        if apart and "mask" in self.auxiliary:
            raise ConfigError(
                "train.augment.geometry: a mask is one for all modalities of a capture, which must move "
                "together; set it to shared."
            )

    def __call__(self, rows: Sequence[BatchRow], rng: np.random.Generator | None = None) -> Batch:
        """A batch of the rows, in order. `rng` drives augmentation. Raises DataError for a bad image."""
        rng = rng or np.random.default_rng(0)
        shared = [draw_geometry(self.augment, rng) for _ in rows] if self.augment else None
        present = torch.zeros(len(rows), len(ORDER), dtype=torch.bool)
        camid = torch.full(present.shape, UNKNOWN, dtype=torch.int64)
        viewid = camid.clone()
        images: dict[Modality, Tensor] = {}
        index: dict[Modality, Tensor] = {}
        tokens: Tensor | None = None
        for column, modality in enumerate(ORDER):
            having = [(r, row.parts[modality]) for r, row in enumerate(rows) if modality in row.parts]
            if not having:
                continue
            where = torch.tensor([r for r, _ in having])
            index[modality] = where
            present[where, column] = True
            camid[where, column] = torch.tensor([self._camera(p.camid) for _, p in having])
            viewid[where, column] = torch.tensor(
                [UNKNOWN if p.viewid is None else p.viewid for _, p in having]
            )
            if modality.is_visual:
                images[modality] = self._pictures(modality, having, shared, rng)
            else:
                tokens = tokenize([str(p.content) for _, p in having], self.context)
        batch = Batch(
            pid=torch.tensor([row.label for row in rows], dtype=torch.int64),
            present=present,
            camid=camid,
            viewid=viewid,
            images=images,
            index=index,
            tokens=tokens,
            sample_id=tuple(
                tuple(row.parts[m].sample_id if m in row.parts else None for m in ORDER) for row in rows
            ),
        )
        return self._with_auxiliary(batch, rows, shared) if self.auxiliary else batch

    def _with_auxiliary(self, batch: Batch, rows: Sequence[BatchRow], shared: list[Geometry] | None) -> Batch:
        if "caption" in self.auxiliary:
            caption, has = captions_of(rows, self.context)
            batch = replace(batch, caption=caption, caption_present=has)
        if "mask" in self.auxiliary:
            mask, has = masks_of(rows, (self.data.height, self.data.width), shared)
            batch = replace(batch, mask=mask, mask_present=has)
        return batch

    def _camera(self, camid: int | None) -> int:
        return UNKNOWN if camid is None else self.cameras.get(camid, UNKNOWN)

    def _pictures(
        self,
        modality: Modality,
        having: list[tuple[int, RowPart]],
        shared: list[Geometry] | None,
        rng: np.random.Generator,
    ) -> Tensor:
        pictures = [self._pixels(modality, part) for _, part in having]
        if self.augment is None or shared is None:
            return normalise(pictures, self.data.mean, self.data.std)
        moved = []
        for (row, _), pixels in zip(having, pictures, strict=True):
            together = self.augment.geometry == "shared"
            geometry = shared[row] if together else draw_geometry(self.augment, rng)
            changed = apply_geometry(pixels, geometry)
            if modality.entry.jitter:
                changed = jitter(changed, self.augment.jitter, rng)
            if modality is PHOTO:
                changed = random_channel(changed, self.augment.random_channel, rng)
            moved.append(changed)
        batch = normalise(moved, self.data.mean, self.data.std)
        erase(batch, self.augment, rng)
        return batch

    def _pixels(self, modality: Modality, part: RowPart) -> Pixels:
        size = (self.data.height, self.data.width)
        resize = self.augment.resize if self.augment else self.data.resize
        name = f"{modality.value}:{size[0]}x{size[1]}:{resize}:{part.source}"
        found = self.cache.get(name) if self.cache else None
        if found is None:
            content = part.content if isinstance(part.content, bytes) else part.content.encode()
            rule = SensorSettings.of(self.data).rule(modality)
            found = decode_rgb(content, part.source, size, resize, rule)
            if self.cache:
                self.cache.put(name, found)
        return found
