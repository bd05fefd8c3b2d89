"""How queries are compared with a gallery whose items are of several subsets, as a model's comparison says.

Each group of items has its own query vectors and one inner product; groups of one scale give scores, groups
of several scales their calibrated likelihood ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid.comparison.mixed import ComparedGroup
from reid.comparison.one_vector import StoredForm
from reid.evaluate.metrics.comparing import Compare, Rows, cosine, prepared, tensor_of
from reid.modality import Subset

Ints = npt.NDArray[np.int64]
Ranking = Callable[[npt.ArrayLike], npt.NDArray[np.float64]]
"""Scores of one pair of subsets -> what ranks them among those of others: log likelihood ratios."""


@dataclass(frozen=True, eq=False)
class GroupScores:
    """What compares all queries with one group of a gallery's items.

    `subset` numbers the subset of `group.stored` that each of the n items is embedded in, None where all are
    in the first; `places` are the items' places in the gallery, None for all items in order. `ratio` is set
    where groups of several scales are ranked together.
    """

    group: ComparedGroup
    q: Rows  # (Q, D) vectors of `group.query`
    subset: Ints | None = None  # (n,)
    places: Ints | None = None  # (n,)
    ratio: Ranking | None = None

    @property
    def is_cosine(self) -> bool:
        """Whether the score is the cosine of the whole vectors, of all items."""
        return self.group.form.plain and self.places is None and self.ratio is None


def group_scores(g: Rows, groups: tuple[GroupScores, ...]) -> Compare:
    """A function of a slice of queries -> (q, G) float32 scores, or log likelihood ratios where set.

    Args:
        g: (G, D) vectors of the items, each embedded in its own subset.
        groups: every item is in one of them.
    """
    if len(groups) == 1 and groups[0].is_cosine:
        return cosine(groups[0].q, g)
    compares = [_scores(g, one) for one in groups]
    total = len(g)

    def compare(rows: slice) -> Tensor:
        blocks = [one(rows) for one in compares]
        if len(groups) == 1 and groups[0].places is None:
            return blocks[0]
        found = blocks[0].new_empty(len(blocks[0]), total)
        for block, one in zip(blocks, groups, strict=True):
            assert one.places is not None
            found[:, torch.from_numpy(one.places).to(found.device)] = block
        return found

    return compare


def _scores(g: Rows, one: GroupScores) -> Compare:
    """(q, n) scores of a group's items."""
    if one.places is not None:
        g = g[torch.from_numpy(one.places)] if isinstance(g, Tensor) else g[one.places]
    form, stored, query = one.group.form, one.group.stored, one.group.query

    def store(rows: Tensor, place: slice) -> Tensor:
        return _stored(form, stored, rows, None if one.subset is None else one.subset[place])

    columns = prepared(g, store).T

    def compare(rows: slice) -> Tensor:
        asked = tensor_of(one.q[rows])
        if form.plain:
            scores = torch.nn.functional.normalize(asked, dim=1) @ columns
        else:
            scores = torch.from_numpy(form.asked(asked.cpu().numpy(), query)).to(columns.device) @ columns
        if one.ratio is None:
            return scores
        return torch.from_numpy(one.ratio(scores.cpu().numpy()).astype(np.float32))

    return compare


def _stored(form: StoredForm, stored: tuple[Subset, ...], rows: Tensor, subset: Ints | None) -> Tensor:
    """(n, d) what is multiplied with a query, of (n, D) vectors of several subsets."""
    if form.plain:
        return torch.nn.functional.normalize(rows, dim=1)
    values = rows.cpu().numpy()
    if subset is None:
        return torch.from_numpy(form.stored(values, stored[0])).to(rows.device)
    found = np.zeros((len(values), form.width), np.float32)
    for number in np.unique(subset).tolist():
        mine = subset == number
        found[mine] = form.stored(values[mine], stored[number])
    return torch.from_numpy(found).to(rows.device)
