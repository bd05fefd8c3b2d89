"""How queries are compared with a gallery: by cosine, some queries at a time, so that memory is bounded.

Vectors are a tensor, or rows of a feature table, which may be larger than memory. Of a large gallery the
normalised vectors are kept in a temporary file that is mapped, and no copy in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reid.errors import DataError
from reid.evaluate.features.table import FeatureRows

Compare = Callable[[slice], Tensor]
"""A slice of queries -> (q, G) similarities."""
Rows = Tensor | FeatureRows
"""(n, D) vectors."""
Prepare = Callable[[Tensor, slice], Tensor]
"""(n, D) float32 vectors and their place among all -> (n, d) what is multiplied with queries."""
CHUNK = 2**10
"""Queries ranked at a time, fewer where the gallery is large: see `rows_at_a_time`. After each call torch's
threads wait busily for a while, beside those that rank; so calls should be few."""
BLOCK = 2**23
"""Similarities held at a time, except that LEAST queries are."""
LEAST = 64
"""Queries ranked at a time in a large gallery: each reading of the gallery serves so many."""
MOST = 2**26
"""Similarities held at a time for LEAST queries (256 MiB); in a larger gallery fewer queries are."""
READ = 2**14
"""Vectors that are read, checked and normalised at a time."""
IN_MEMORY = 2**29
"""Bytes of a gallery's vectors; above it they are in a temporary file."""


def rows_at_a_time(columns: int) -> int:
    """Number of queries to rank together so that their similarities fit the memory bound.

    >>> rows_at_a_time(100), rows_at_a_time(2**16), rows_at_a_time(2**23)
    (1024, 128, 8)
    """
    columns = max(columns, 1)
    return max(1, min(LEAST, MOST // columns), min(CHUNK, BLOCK // columns))


def cosine(q: Rows, g: Rows) -> Compare:
    """The default comparison of `evaluate_features`: cosine similarity.

    Args:
        q: (Q, D) query features.
        g: (G, D) gallery features.

    Returns:
        A function of a slice of queries -> (q, G) float32 similarities in [-1, 1].

    >>> cosine(torch.eye(2), torch.tensor([[3.0, 4.0]]))(slice(0, 2)).flatten().tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    columns = prepared(g, lambda rows, _: normalize(rows, dim=1)).T
    return lambda rows: normalize(tensor_of(q[rows]), dim=1) @ columns


def tensor_of(rows: Rows) -> Tensor:
    """(n, D) float32 on their device, in memory.

    >>> tensor_of(torch.zeros(2, 3, dtype=torch.float16)).dtype
    torch.float32
    """
    return rows.float() if isinstance(rows, Tensor) else torch.from_numpy(rows.array())


def check_features(features: Rows, rows: int, side: str) -> None:
    """Check that features are (rows, D), not empty, and finite.

    Raises DataError that names the side and the first row at fault.

    >>> check_features(torch.zeros(2, 8), 2, "query")
    """
    if len(features.shape) != 2 or len(features) != rows:
        raise DataError(f"{side} features are {tuple(features.shape)} but there are {rows} {side} labels.")
    if not rows:
        raise DataError(f"No {side} features: nothing to evaluate.")
    bad = torch.cat([~torch.isfinite(block).all(dim=1) for _, block in _blocks(features)])
    if bad.any():
        first = int(bad.nonzero()[0])
        raise DataError(
            f"{int(bad.sum())} of {rows} {side} features are not finite (first: row {first}); "
            "the model diverged or an input was corrupt."
        )


def _blocks(rows: Rows) -> Iterator[tuple[slice, Tensor]]:
    """Every part of READ rows with its place; a tensor is at hand as a whole."""
    step = len(rows) if isinstance(rows, Tensor) else READ
    for start in range(0, len(rows), max(step, 1)):
        place = slice(start, start + step)
        yield place, tensor_of(rows[place])


def prepared(rows: Rows, prepare: Prepare) -> Tensor:
    """(n, d) what `prepare` makes of (n, D) vectors, in memory or mapped.

    >>> prepared(torch.eye(2), lambda block, place: 2 * block).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    if isinstance(rows, Tensor):
        return prepare(rows.float(), slice(0, len(rows)))
    count, dim = rows.shape
    if count * dim * 4 <= IN_MEMORY:
        return prepare(tensor_of(rows), slice(0, count))
    with tempfile.TemporaryFile() as file:  # without a name: it goes with the last map of it
        found: Tensor | None = None
        for place, block in _blocks(rows):
            made = prepare(block, place)
            if found is None:
                shape = (count, made.shape[1])
                found = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
            found[place] = made
    assert found is not None, "so many bytes are some rows"
    return found
