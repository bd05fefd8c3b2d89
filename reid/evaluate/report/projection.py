"""A projection of both sides' vectors to two dimensions, for a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

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
    q: Tensor,
    g: Tensor,
    q_pid: Sequence[int],
    g_pid: Sequence[int],
    label: str = "",
    limit: int = POINTS,
    coloured: int = COLOURED,
    seed: int = 0,
) -> Projection | None:
    """The first two principal components of unit vectors q (Q, D) and g (G, D), by SVD.

    Of more than `limit` vectors those of the coloured identities come first and a seeded choice of the others
    fills up. Both axes have one scale; signs are fixed, so that the same vectors give the same picture. None
    below three vectors or two columns.
    """
    pids = [*q_pid, *g_pid]
    if len(pids) < 3 or q.shape[1] < 2:
        return None
    first = tuple(pid for pid, _ in Counter(pids).most_common(coloured))
    order = np.random.default_rng(seed).permutation(len(pids))
    known = set(first)
    kept = sorted(sorted(order.tolist(), key=lambda i: pids[i] not in known)[:limit])
    vectors = normalize(torch.cat([q, g]).float()[kept], dim=1)
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
        points=tuple(Point(x, y, pids[i], i < len(q_pid)) for i, (x, y) in zip(kept, places, strict=True)),
        explained=float(scales[:2].square().sum()) / total if total else 0.0,
        identities=first,
        of=len(pids),
    )
