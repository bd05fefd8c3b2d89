"""A projection of both sides' vectors to two dimensions, for a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reid.evaluate.metrics.comparing import Rows, tensor_of

Ints = npt.NDArray[np.int64]

POINTS = 2000
COLOURED = 20
"""Identities that are told apart by colour; the others are grey."""


@dataclass(frozen=True)
class Point:
    """A vector's place, each coordinate in [0, 1]."""

    x: float
    y: float
    pid: int
    query: bool


@dataclass(frozen=True)
class Projection:
    """The points of a pairing, and the share of their variance that the two axes keep."""

    label: str
    points: tuple[Point, ...]
    explained: float
    identities: tuple[int, ...]  # coloured ones, most images first
    of: int  # vectors that there are; more than points if some were left out


def project(
    q: Rows,
    g: Rows,
    q_pid: Sequence[int] | Ints,
    g_pid: Sequence[int] | Ints,
    label: str = "",
    limit: int = POINTS,
    coloured: int = COLOURED,
    seed: int = 0,
) -> Projection | None:
    """The first two principal components of unit vectors q (Q, D) and g (G, D), by SVD.

    Of more than `limit` vectors those of the coloured identities come first and a seeded choice of the others
    fills up. Both axes have one scale; signs are fixed, so that the same vectors give the same picture. None
    below three vectors or two columns. Only the vectors that are shown are read.
    """
    pids = np.concatenate([np.asarray(q_pid, np.int64), np.asarray(g_pid, np.int64)])
    if len(pids) < 3 or q.shape[1] < 2:
        return None
    known, place, count = np.unique(pids, return_index=True, return_counts=True)
    most = np.lexsort((place, -count))[:coloured]  # of equally many the one that comes first
    order = np.random.default_rng(seed).permutation(len(pids))
    named = np.isin(pids[order], known[most])
    kept = np.sort(np.concatenate([order[named], order[~named]])[:limit])
    mine, theirs = kept[kept < len(q_pid)], kept[kept >= len(q_pid)] - len(q_pid)
    vectors = normalize(torch.cat([_read(q, mine), _read(g, theirs)]), dim=1)
    centred = vectors - vectors.mean(0)
    _, scales, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    flat = centred @ axes.T  # (n, 2)
    low, span = flat.amin(0), float((flat.amax(0) - flat.amin(0)).max())
    middle = (1 - (flat.amax(0) - low) / max(span, 1e-12)) / 2
    places = ((flat - low) / max(span, 1e-12) + middle).clamp(0, 1).tolist()
    total = float(scales.square().sum())
    return Projection(
        label=label,
        points=tuple(
            Point(x, y, int(pids[i]), i < len(q_pid)) for i, (x, y) in zip(kept.tolist(), places, strict=True)
        ),
        explained=float(scales[:2].square().sum()) / total if total else 0.0,
        identities=tuple(known[most].tolist()),
        of=len(pids),
    )


def _read(rows: Rows, which: Ints) -> Tensor:
    """(n, D) float32 of some rows."""
    return rows[torch.from_numpy(which)].float() if isinstance(rows, Tensor) else tensor_of(rows[which])
