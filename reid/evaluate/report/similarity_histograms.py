"""How similar pairs of one identity are, and pairs of two: histograms, counted some queries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reid.evaluate.evaluator import PairingScores
from reid.evaluate.metrics.retrieval import Compare, Exclude, rows_at_a_time
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import LabelArrays, label_arrays_of
from reid.evaluate.protocols.protocol import Protocol

BINS = 80


@dataclass(frozen=True)
class Similarities:
    """Counts of the similarities of a pairing's first gallery in equal bins over [low, high]."""

    label: str
    low: float
    high: float
    positives: tuple[int, ...]  # pairs of one identity
    negatives: tuple[int, ...]  # pairs of two

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}


def similarities(
    protocol: Protocol, labels: Sequence[SampleLabels], scored: PairingScores, label: str, bins: int = BINS
) -> Similarities:
    """The similarities of a measured pairing, without the pairs that its protocol excludes."""
    sides = label_arrays_of(scored.queries.items, scored.first_gallery, labels)
    return count_similarities(scored.compare, *sides, protocol.exclude, label, bins)


def count_similarities(
    compare: Compare,
    q_meta: LabelArrays,
    g_meta: LabelArrays,
    exclude: Exclude | None = None,
    label: str = "",
    bins: int = BINS,
    chunk: int | None = None,
) -> Similarities:
    """Histograms of `compare(rows)` (q, G), read twice: for the range, then for the counts.

    Memory grows with chunk x G and not with Q x G. Without any pair the range is [0, 1] and all counts 0.
    """
    chunk = chunk or rows_at_a_time(len(g_meta))
    starts = range(0, len(q_meta), chunk)

    def blocks(start: int) -> tuple[Tensor, Tensor, Tensor]:
        """(q, G) similarities, same identity, and what counts."""
        rows = slice(start, start + chunk)
        same = q_meta.pid[rows, None] == g_meta.pid[None, :]
        counts = torch.ones_like(same) if exclude is None else ~exclude(q_meta[rows], g_meta)
        return compare(rows).float().cpu(), same, counts

    low, high = float("inf"), float("-inf")
    for start in starts:
        block, _, counts = blocks(start)
        if counts.any():
            least, most = torch.aminmax(block[counts])
            low, high = min(low, float(least)), max(high, float(most))
    if low > high:
        return Similarities(label, 0.0, 1.0, (0,) * bins, (0,) * bins)
    if high - low < 1e-6:  # all pairs alike: a bin needs a width
        low, high = low - 5e-4, high + 5e-4
    positives, negatives = (torch.zeros(bins, dtype=torch.float64) for _ in range(2))
    for start in starts:
        block, same, counts = blocks(start)
        # histc leaves out what rounding puts beyond the range
        block = block.clamp(low, high)
        positives += torch.histc(block[same & counts], bins, low, high)
        negatives += torch.histc(block[~same & counts], bins, low, high)
    return Similarities(label, low, high, _counts(positives), _counts(negatives))


def _counts(histogram: Tensor) -> tuple[int, ...]:
    return tuple(int(n) for n in histogram.tolist())
