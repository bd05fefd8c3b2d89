"""The batch that models read: images packed by modality, with an index back to the row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reid.data.batches.host_labels import HostLabels, cut_to_longest, placed
from reid.errors import DataError
from reid.modality import ORDER, Modality, Subset, canonical, subset_name

UNKNOWN = -1
"""Label of an unknown camera or view."""


@dataclass(frozen=True)
class Batch:
    """B rows, each with a non-empty subset of modalities. M is the number of known modalities.

    Row r has modality m exactly when `present[r, m]`. `index[m]` lists, in ascending order, the rows of the
    entries of `images[m]` (or `tokens`). `pid` is a contiguous label.

    The mask and the caption are auxiliary inputs: they belong to the row, whatever its modalities, and are
    filled only for models that use them. `only` keeps them.
    """

    pid: Tensor  # (B,) int64; UNKNOWN outside training
    present: Tensor  # (B, M) bool
    camid: Tensor  # (B, M) int64 contiguous camera label, UNKNOWN where not known
    viewid: Tensor  # (B, M) int64
    images: Mapping[Modality, Tensor]  # m -> (b_m, 3, H, W) float32, normalised
    index: Mapping[Modality, Tensor]  # m -> (b_m,) int64 row of each entry; text included
    tokens: Tensor | None = None  # (b_text, L) int64; L is 77, or less once on a device
    mask: Tensor | None = None  # (B, 1, H, W) float32 {0, 1}, zero for a row without one
    sample_id: tuple[tuple[str | None, ...], ...] = ()  # B x M
    mask_present: Tensor | None = None  # (B,) bool
    caption: Tensor | None = None  # (B, L) int64 like `tokens`, zero for a row without one
    caption_present: Tensor | None = None  # (B,) bool
    host: HostLabels | None = None  # what `labels` gives, once the batch is on a device

    def __len__(self) -> int:
        return int(self.pid.shape[0])

    @property
    def labels(self) -> HostLabels:
        """The labels that decide shapes, on the CPU; only a batch that was made on a device copies them."""
        if self.host is not None:
            return self.host
        mask, caption = self.mask_present, self.caption_present
        return HostLabels(
            self.present.cpu(),
            None if mask is None else mask.cpu(),
            None if caption is None else caption.cpu(),
        )

    @property
    def modalities(self) -> Subset:
        """The modalities that at least one row has."""
        return canonical(m for m, rows in self.index.items() if len(rows))

    def only(self, modalities: Iterable[Modality]) -> Batch:
        """The same rows with every other modality hidden."""
        keep = canonical(modalities)
        columns = torch.tensor([m in keep for m in ORDER])
        return replace(
            self,
            present=self.present & placed(columns, self.present.device),
            host=None if self.host is None else self.host.only(columns),
            images={m: x for m, x in self.images.items() if m in keep},
            index={m: x for m, x in self.index.items() if m in keep},
            tokens=self.tokens if Modality.TEXT in keep else None,
        )

    def full(self, modality: Modality) -> bool:
        """Whether every row has this modality."""
        rows = self.index.get(modality)
        return rows is not None and len(rows) == len(self)

    def require(self, modalities: Iterable[Modality]) -> None:
        """Raise DataError unless every row has each of these modalities."""
        for modality in modalities:
            if not self.full(modality):
                have = subset_name(self.modalities) or "nothing"
                raise DataError(f"Every row needs {modality.value}; this batch has {have} (in some rows).")

    def require_any(self, modalities: Iterable[Modality]) -> None:
        """Raise DataError unless every row has at least one of these modalities."""
        known = canonical(modalities)
        usable = self.labels.present[:, [ORDER.index(m) for m in known]].any(1)
        if not usable.all():
            row = int(usable.long().argmin())
            raise DataError(f"Row {row} has none of this model's modalities ({subset_name(known)}).")

    def completed(self, modalities: Iterable[Modality], height: int, width: int) -> Batch:
        """The same rows, with an entry for every one of these modalities; absent ones get an empty tensor.

        Ranks whose batches have different modalities then gather the same tensors in the same order, in the
        forward and the backward pass, and every parameter gets a gradient on every rank.
        """
        absent = [m for m in modalities if m not in self.index]
        blank = self.present.new_zeros(0, 3, height, width, dtype=torch.float32)
        none = self.pid.new_zeros(0)
        return replace(
            self,
            images={**self.images, **{m: blank for m in absent if m.is_visual}},
            index={**self.index, **dict.fromkeys(absent, none)},
            tokens=self.pid.new_zeros(0, 1) if Modality.TEXT in absent else self.tokens,
        )

    def spread(self, modality: Modality, packed: Tensor) -> Tensor:
        """Packed entries (b_m, ...) of a modality at their rows of (B, ...), zero elsewhere."""
        if self.full(modality):
            return packed
        rows = packed.new_zeros(len(self), *packed.shape[1:])
        return rows.index_copy(0, self.index[modality], packed)

    def cameras(self, modality: Modality) -> Tensor:
        """Camera labels of the stored entries of a modality, (b_m,) int64."""
        return self.camid[self.index[modality], ORDER.index(modality)]

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor. From the CPU, texts are cut to the longest, and the labels are kept there."""
        device = torch.device(device)
        if device.type == "cpu" or self.present.device.type != "cpu":
            return self.mapped(lambda x: x.to(device, non_blocking=True))
        cut = replace(
            self,
            tokens=None if self.tokens is None else cut_to_longest(self.tokens).contiguous(),
            caption=None if self.caption is None else cut_to_longest(self.caption).contiguous(),
        )
        return replace(cut.mapped(lambda x: x.to(device, non_blocking=True)), host=self.labels.apart())

    def pinned(self) -> Batch:
        """Copy every tensor to page-locked memory, from which a GPU copies on its own."""
        return self.mapped(lambda x: x.pin_memory())

    def tensors(self) -> list[Tensor]:
        """Every tensor of the batch."""
        found: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            found.append(x)
            return x

        self.mapped(keep)
        return found

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed."""

        def maybe(x: Tensor | None) -> Tensor | None:
            return None if x is None else change(x)

        return replace(
            self,
            pid=change(self.pid),
            present=change(self.present),
            camid=change(self.camid),
            viewid=change(self.viewid),
            images={m: change(x) for m, x in self.images.items()},
            index={m: change(x) for m, x in self.index.items()},
            tokens=maybe(self.tokens),
            mask=maybe(self.mask),
            mask_present=maybe(self.mask_present),
            caption=maybe(self.caption),
            caption_present=maybe(self.caption_present),
        )


def join(batches: list[Batch]) -> Batch:
    """Concatenate batches row-wise; tests use it to compare several ranks with one process."""
    offsets = [0]
    for batch in batches:
        offsets.append(offsets[-1] + len(batch))
    modalities = canonical(m for b in batches for m in b.index)
    index = {
        m: torch.cat([b.index[m] + o for b, o in zip(batches, offsets, strict=False) if m in b.index])
        for m in modalities
    }
    images = {
        m: torch.cat([b.images[m] for b in batches if m in b.images]) for m in modalities if m.is_visual
    }
    tokens = [b.tokens for b in batches if b.tokens is not None]
    return Batch(
        pid=torch.cat([b.pid for b in batches]),
        present=torch.cat([b.present for b in batches]),
        camid=torch.cat([b.camid for b in batches]),
        viewid=torch.cat([b.viewid for b in batches]),
        images=images,
        index=index,
        tokens=torch.cat(tokens) if tokens else None,
        mask=_joined([b.mask for b in batches], batches),
        sample_id=tuple(row for b in batches for row in b.sample_id),
        mask_present=_joined([b.mask_present for b in batches], batches),
        caption=_joined([b.caption for b in batches], batches),
        caption_present=_joined([b.caption_present for b in batches], batches),
    )


def _joined(parts: list[Tensor | None], batches: list[Batch]) -> Tensor | None:
    """Concatenated auxiliary inputs, zero for the rows of a batch without them."""
    known = next((x for x in parts if x is not None), None)
    if known is None:
        return None
    rows = (
        known.new_zeros(len(b), *known.shape[1:]) if x is None else x
        for x, b in zip(parts, batches, strict=True)
    )
    return torch.cat(list(rows))
