"""How similar pairs of one identity are, and pairs of two: histograms, counted some queries at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid.evaluate.evaluator import PairingScores
from reid.evaluate.metrics.comparing import Compare, rows_at_a_time
from reid.evaluate.metrics.retrieval import Exclude
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.protocol import Protocol

BINS = 80
PAIRS = 2**28
"""Pairs that are counted; of more, evenly spaced queries."""


@dataclass(frozen=True)
class Similarities:
    """Counts of the similarities of a pairing's first gallery in equal bins over [low, high]."""

    label: str
    low: float
    high: float
    positives: tuple[int, ...]  # pairs of one identity
    negatives: tuple[int, ...]  # pairs of two
    of_queries: tuple[int, int] | None = None  # how many were counted, and of how many; None: all

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        told = {key: value for key, value in vars(self).items() if value is not None}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in told.items()}


def similarities(
    protocol: Protocol, scored: PairingScores, label: str, bins: int = BINS, most: int = PAIRS
) -> Similarities:
    """The similarities of a measured pairing, without the pairs that its protocol excludes.

    Of more than `most` pairs those of evenly spaced queries are counted, and the result says of how many.
    """
    trial = scored.first
    count, wanted = len(trial.q_meta), max(1, most // len(trial.g_meta))
    if count <= wanted:
        found = count_similarities(trial.compare, trial.q_meta, trial.g_meta, protocol.exclude, label, bins)
        return found
    rows = np.linspace(0, count - 1, wanted).round().astype(np.int64).tolist()

    def compare(asked: slice) -> Tensor:
        return torch.cat([trial.compare(slice(i, i + 1)) for i in rows[asked]])

    q_meta = trial.q_meta[torch.tensor(rows)]
    found = count_similarities(compare, q_meta, trial.g_meta, protocol.exclude, label, bins)
    return replace(found, of_queries=(wanted, count))


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
