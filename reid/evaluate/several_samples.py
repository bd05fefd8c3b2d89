"""The vector of a query with several samples of a modality: the one rule for evaluation, search and calls.

Every combination of one sample a modality is a view, which the model embeds as it embeds any query. The
vector is the mean of the views' unit vectors, made a unit vector again. So the order of samples plays no
part, each sample of a modality counts alike, all views have the blocks of one modality subset, and a single
view keeps its own vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from reid.errors import UsageError

MOST_VIEWS = 256
"""Views of one query, each of which costs one pass of the model."""
Key = TypeVar("Key")
Value = TypeVar("Value")
Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[Any]


def views_of(samples: Mapping[Key, Sequence[Value]]) -> list[dict[Key, Value]]:
    """Every combination of one sample for each key, the first samples first.

    Args:
        samples: modality -> its samples, at least one of each.

    Raises UsageError for more than MOST_VIEWS combinations.

    >>> views_of({"sketch": ["s1", "s2"], "text": ["t"]})
    [{'sketch': 's1', 'text': 't'}, {'sketch': 's2', 'text': 't'}]
    """
    check_views([len(found) for found in samples.values()])
    return [dict(zip(samples, chosen, strict=True)) for chosen in product(*samples.values())]


def check_views(counts: Sequence[int]) -> None:
    """Raise UsageError if so many samples of each modality make more than MOST_VIEWS combinations."""
    if (views := math.prod(counts)) > MOST_VIEWS:
        numbers = " x ".join(map(str, counts))
        raise UsageError(
            f"A query with {numbers} samples has {views} combinations of one sample a modality; at most "
            f"{MOST_VIEWS} are embedded. Give fewer samples."
        )


def pooled(vectors: Vectors, starts: Ints) -> Vectors:
    """The vector of each query from those of its views.

    Args:
        vectors: (V, dim) of all views, those of a query side by side.
        starts: (n + 1,) where the views of each query begin; the last one is V. A query has one at least.

    Returns:
        (n, dim) float32, of norm 1 where there are several views (zero if they cancel out).

    >>> pooled(np.array([[1, 0], [0, 1], [0, 2]], np.float32), np.array([0, 2, 3])).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377], [0.0, 2.0]]
    """
    count = np.diff(starts)
    found = vectors[starts[:-1]]
    several = np.flatnonzero(count > 1)
    if len(several):
        wide = vectors.astype(np.float64)
        units = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
        sums = np.add.reduceat(units, starts[:-1])[several]
        mean = sums / count[several, None]
        found[several] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return found.astype(np.float32, copy=False)


def ranges(starts: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """The places of some queries' views, and where each of these queries then begins.

    >>> [found.tolist() for found in ranges(np.array([0, 2, 3, 6]), np.array([2, 0]))]
    [[3, 4, 5, 0, 1], [0, 3, 5]]
    """
    count = np.diff(starts)[chosen]
    begins = np.concatenate([[0], np.cumsum(count)])
    return np.repeat(starts[:-1][chosen] - begins[:-1], count) + np.arange(begins[-1]), begins
