"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, section 3), sparse: memory grows with N k, not N^2.

An image is described by its k-reciprocal neighbours: those that also count it among their own. The new
distance mixes the Jaccard distance of two descriptions with the original distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reid.config import RerankConfig
from reid.errors import UsageError
from reid.evaluate.metrics.comparing import Compare, Rows, rows_at_a_time, tensor_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
MEMORY = 4 * 2**30
"""Bytes that re-ranking may need: all vectors, all neighbourhoods."""
NEIGHBOURS = 3
"""Entries of a description for each of its k nearest rows, about."""
BLOCK = 64
"""Rows whose neighbourhoods are expanded together."""


@dataclass(frozen=True)
class Sparse:
    """N sparse rows of (column, value); row i is entries starts[i] to starts[i + 1].

    >>> rows = Sparse(np.array([0, 2, 3]), np.array([1, 4, 0]), np.ones(3, np.float32))
    >>> rows.rows().tolist()
    [0, 0, 1]
    """

    starts: Ints  # (N + 1,)
    columns: Ints  # ascending in a row
    values: Floats

    def rows(self) -> Ints:
        """The row of each entry, int64."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def rerank(q: Rows, g: Rows, config: RerankConfig) -> Compare:
    """Re-rank gallery features for query features; the original distance is 2 - 2 cos.

    Queries and gallery items are neighbours of each other, as in the paper.

    Args:
        q: (Q, D) query features.
        g: (G, D) gallery features.
        config: k1, k2 and lambda; the defaults are the paper's.

    Returns:
        A function of a slice of queries -> (q, G) float32 similarities in [0, 1]: one minus the new distance.
        Pass it to `evaluate_features(compare=...)`.

    >>> compare = rerank(torch.eye(3)[:1], torch.eye(3), RerankConfig(k1=1, k2=1))
    >>> compare(slice(0, 1)).argmax().item()
    0
    """
    check_size(len(q) + len(g), q.shape[1], config)
    features = normalize(torch.cat([tensor_of(q), tensor_of(g)]), dim=1)  # (N, D)
    count, total = len(q), len(features)
    neighbours, furthest = _neighbours(features, min(max(config.k1 + 1, config.k2), total))
    described = _describe(features, neighbours[:, : config.k1 + 1], furthest, config.k1)
    if config.k2 > 1:
        described = _averaged(described, neighbours[:, : config.k2])
    inverse = _transposed(described, total)
    columns = features[count:].T

    def compare(rows: slice) -> Tensor:
        picked = range(*rows.indices(count))
        distance = (2 - 2 * features[:count][rows] @ columns) / torch.from_numpy(furthest[:count][rows, None])
        jaccard = np.stack([_jaccard(described, inverse, i, total)[count:] for i in picked])
        kept = config.lambda_value
        return 1 - ((1 - kept) * torch.from_numpy(jaccard) + kept * distance)

    return compare


def check_size(count: int, dim: int, config: RerankConfig) -> None:
    """Raise UsageError where re-ranking so many vectors, queries and items together, needs too much memory.

    >>> check_size(10_000, 512, RerankConfig())
    """
    near = max(config.k1 + 1, config.k2)
    needed = count * (8 * dim + 32 * near + 24 * NEIGHBOURS * near)
    if needed > MEMORY:
        most = int(count * MEMORY / needed)
        raise UsageError(
            f"evaluate.rerank: {count} vectors of {dim} numbers need about {needed / 2**30:.0f} GiB in one "
            f"process, and at most {MEMORY / 2**30:.0f} GiB are used, enough for {most}. Leave "
            "evaluate.rerank out, or evaluate a smaller split."
        )


def _neighbours(features: Tensor, k: int) -> tuple[Ints, Floats]:
    """(N, k) nearest rows, itself first unless another is as near, and (N,) the largest distance."""
    near, furthest = [], []
    for block in features.split(rows_at_a_time(len(features))):
        distance = 2 - 2 * block @ features.T
        near.append(distance.topk(k, dim=1, largest=False).indices)
        furthest.append(distance.amax(dim=1))
    far = torch.cat(furthest).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.cat(near).numpy(), far.numpy()


def _describe(features: Tensor, neighbours: Ints, furthest: Floats, k1: int) -> Sparse:
    """The weighted k-reciprocal neighbourhood of every row (equations 3 to 7 of the paper)."""
    half = neighbours[:, : int(np.around(k1 / 2)) + 1]
    mutual, mutual_half = _mutual(neighbours), _mutual(half)
    sizes, columns, values = [], [], []
    for start in range(0, len(neighbours), BLOCK):
        rows = slice(start, start + BLOCK)
        members = np.where(mutual[rows], neighbours[rows], -1)  # (n, k)
        others = np.where(mutual_half[neighbours[rows]], half[neighbours[rows]], -1)  # (n, k, h)
        shared = (others[..., None] == members[:, None, None, :]).any(axis=-1) & (others >= 0)
        enough = shared.sum(axis=2) > 2 / 3 * (others >= 0).sum(axis=2)  # (n, k)
        joined = np.where((enough & (members >= 0))[..., None], others, -1)
        wide = np.sort(np.concatenate([members, joined.reshape(len(members), -1)], axis=1), axis=1)
        new = wide >= 0
        new[:, 1:] &= wide[:, 1:] != wide[:, :-1]
        row, column = new.nonzero()[0] + start, wide[new]
        for cut in range(0, len(row), 2**16):  # features of so many pairs at a time
            i, j = row[cut : cut + 2**16], column[cut : cut + 2**16]
            cosine = (features[torch.from_numpy(i)] * features[torch.from_numpy(j)]).sum(dim=1).numpy()
            values.append(np.exp(-(2 - 2 * cosine) / furthest[i]))
        sizes.append(new.sum(axis=1))
        columns.append(column)
    starts = np.concatenate([[0], np.concatenate(sizes).cumsum()])
    found = Sparse(starts, np.concatenate(columns), np.concatenate(values))
    sums = np.bincount(found.rows(), found.values, minlength=len(neighbours)).astype(np.float32)
    return Sparse(starts, found.columns, found.values / sums[found.rows()])


def _mutual(neighbours: Ints) -> npt.NDArray[np.bool_]:
    """(N, k) whether a neighbour has the row among its own k."""
    found = np.zeros(neighbours.shape, bool)
    for column in range(neighbours.shape[1]):
        theirs = neighbours[neighbours[:, column]]  # (N, k)
        found[:, column] = (theirs == np.arange(len(neighbours))[:, None]).any(axis=1)
    return found


def _averaged(described: Sparse, neighbours: Ints) -> Sparse:
    """Every row's mean description over its nearest rows (the paper's local query expansion)."""
    starts, columns, values = [0], [], []
    for near in neighbours:
        spans = [slice(described.starts[i], described.starts[i + 1]) for i in near]
        found, where = np.unique(np.concatenate([described.columns[s] for s in spans]), return_inverse=True)
        weights = np.concatenate([described.values[s] for s in spans])
        columns.append(found)
        values.append((np.bincount(where, weights) / len(near)).astype(np.float32))
        starts.append(starts[-1] + len(found))
    return Sparse(np.array(starts), np.concatenate(columns), np.concatenate(values))


def _transposed(described: Sparse, total: int) -> Sparse:
    order = np.argsort(described.columns, kind="stable")
    starts = np.searchsorted(described.columns[order], np.arange(total + 1))
    return Sparse(starts, described.rows()[order], described.values[order])


def _jaccard(described: Sparse, inverse: Sparse, row: int, total: int) -> npt.NDArray[Any]:
    """(N,) distances of one row to all by their descriptions, which each sum to 1 (equation 10)."""
    span = slice(described.starts[row], described.starts[row + 1])
    columns, weights = described.columns[span], described.values[span]
    sizes = inverse.starts[columns + 1] - inverse.starts[columns]
    first = np.repeat(inverse.starts[columns] - (sizes.cumsum() - sizes), sizes)
    entries = first + np.arange(sizes.sum())
    least = np.minimum(np.repeat(weights, sizes), inverse.values[entries])
    common = np.bincount(inverse.columns[entries], least, minlength=total)
    return (1 - common / (2 - common)).astype(np.float32)
