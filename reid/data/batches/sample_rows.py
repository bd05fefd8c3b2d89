"""Rows of a batch from samples: one modality of a sample as a part, and a row of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.shards.schema import Sample
from reid.modality import PHOTO, Modality, Subset

ANCHOR = PHOTO
"""What a row is about: its own picture; companions may come from other captures."""


@dataclass(frozen=True)
class Pick:
    """The parts of a row: an anchor capture, the sources of its other modalities, the modalities to use."""

    anchor: Sample
    sources: Sequence[Sample]
    modalities: Subset


def sample_part(sample: Sample, modality: Modality, caption: int = 0) -> RowPart:
    """One modality of a sample as a part of a row."""
    labels = sample.labels
    content: bytes | str = (
        sample.images[modality].image if modality.is_visual else sample.captions[caption].text
    )
    return RowPart(content, labels.sample_id, labels.camid, labels.viewid, labels.sample_id)


def row_of_sample(pick: Pick, label: int, dropout: float, rng: np.random.Generator) -> BatchRow:
    """A training row: random sources and captions, each modality hidden with probability `dropout`.

    Its auxiliary inputs are the anchor's.
    """
    return attach_auxiliary(_drop(BatchRow(_parts(pick, rng), label), dropout, rng), pick.anchor, rng)


def _parts(pick: Pick, rng: np.random.Generator) -> dict[Modality, RowPart]:
    """The anchor's own image, and each other modality from a random one of the sources that has it."""
    parts = {}
    for modality in pick.modalities:
        if modality is ANCHOR and ANCHOR in pick.anchor.images:
            holder = pick.anchor
        else:
            holders = [s for s in pick.sources if modality in s.modalities]
            if not holders:
                continue
            holder = holders[int(rng.integers(len(holders)))] if len(holders) > 1 else holders[0]
        caption = int(rng.integers(len(holder.captions))) if modality is Modality.TEXT else 0
        parts[modality] = sample_part(holder, modality, caption)
    return parts


def _drop(row: BatchRow, chance: float, rng: np.random.Generator) -> BatchRow:
    """Hide each modality with a probability; one always remains."""
    if chance <= 0 or len(row.parts) < 2:
        return row
    names = list(row.parts)
    keep = [m for m in names if rng.random() >= chance] or [names[int(rng.integers(len(names)))]]
    return replace(row, parts={m: row.parts[m] for m in keep})
