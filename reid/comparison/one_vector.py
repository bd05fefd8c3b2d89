"""When one stored vector an item and one query vector give all comparisons as a single inner product.

The weights of a rule may depend on both subsets. Where, for every gallery block, the matrix of weights (query
blocks of all query subsets x gallery subsets that have the block) has rank one, each weight is a factor of
the query side times a factor of the item's side: the item's is multiplied into what is stored, the query's
into what is asked, and blocks that are always asked alike are added up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reid.comparison.rule import ComparisonRule, Floats
from reid.comparison.terms import FeatureBlock, PairComparison, Unit
from reid.modality import Subset, subset_name

_ZERO = 1e-12
"""Weights that differ by less, relative to the largest, are equal."""
Weights = Mapping[str, float]


@dataclass(frozen=True)
class StoredForm:
    """How vectors become what is stored and what is asked, so that their inner product is the score.

    `slots` are the parts of both: each is the sum of some blocks of the item, times the factor of its subset,
    and of some blocks of the query, times a weight. `plain` says that both are the vectors as embedded.
    """

    unit: Unit
    plain: bool
    blocks: Mapping[str, FeatureBlock] = field(default_factory=dict)
    slots: tuple[tuple[str, ...], ...] = ()
    factors: Mapping[tuple[str, Subset], float] = field(default_factory=dict)
    asked_of: Mapping[tuple[str, Subset], Weights] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of entries of what is stored and asked; 0 for plain vectors, which keep their own."""
        return sum(self.blocks[names[0]].size for names in self.slots)

    @cached_property
    def key(self) -> str:
        """What tells stored vectors of two forms apart; "" for plain ones.

        >>> StoredForm("vector", plain=True).key
        ''
        """
        if self.plain:
            return ""
        factors = sorted((name, subset_name(of), factor) for (name, of), factor in self.factors.items())
        return hashlib.sha256(repr((self.unit, self.slots, factors)).encode()).hexdigest()[:12]

    def stored(self, vectors: Floats, subset: Subset) -> Floats:
        """(n, d) vectors to store, of the (n, dim) vectors of items that were embedded in `subset`.

        >>> form = StoredForm("vector", plain=True)
        >>> form.stored(np.ones((1, 2), np.float32), ()).tolist()
        [[1.0, 1.0]]
        """
        if self.plain:
            return vectors
        made = []
        for names in self.slots:
            parts = [self.factors.get((n, subset), 0.0) * self._block(vectors, n) for n in names]
            made.append(np.sum(parts, axis=0))
        return np.concatenate(made, axis=1).astype(np.float32)

    def asked(self, vectors: Floats, subset: Subset) -> Floats:
        """(n, d) vectors to ask with, of the (n, dim) vectors of queries that were embedded in `subset`.

        >>> form = StoredForm("vector", plain=True)
        >>> form.asked(np.ones((1, 2), np.float32), ()).tolist()
        [[1.0, 1.0]]
        """
        if self.plain:
            return vectors
        made = []
        for names in self.slots:
            weights = self.asked_of.get((names[0], subset), {})
            parts = [weight * self._block(vectors, n) for n, weight in weights.items()]
            size = self.blocks[names[0]].size
            made.append(np.sum(parts, axis=0) if parts else np.zeros((len(vectors), size)))
        return np.concatenate(made, axis=1).astype(np.float32)

    def _block(self, vectors: Floats, name: str) -> npt.NDArray[np.float64]:
        x = vectors[:, self.blocks[name].slice].astype(np.float64)
        if self.unit == "vector":
            return x
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        found: npt.NDArray[np.float64] = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        return found


def one_vector(
    rule: ComparisonRule, queries: Sequence[Subset], gallery: Sequence[Subset]
) -> StoredForm | None:
    """The form in which one inner product compares all these query subsets with all these items.

    Args:
        rule: of the model.
        queries: subsets that queries are embedded in.
        gallery: subsets that items are embedded in.

    Returns:
        None where the weights have no such form, units differ, or a pair is refused or embeds other subsets:
        then items are grouped by subset, each group with a form of its own, and results are merged.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.modality import parse_subset
    >>> rgb, nir = parse_subset("rgb"), parse_subset("nir")
    >>> space = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), rgb + nir, rgb + nir)
    >>> one_vector(space, [rgb, nir], [rgb, rgb + nir]).plain
    True
    >>> layout = (FeatureBlock("rgb", 0, 4, "rgb"), FeatureBlock("nir", 4, 8, "nir"))
    >>> one_vector(ComparisonRule(Regime.MATCHED, layout, rgb + nir, rgb + nir), [rgb], [rgb, nir]) is None
    True
    """
    pairs: dict[tuple[Subset, Subset], PairComparison] = {}
    for q in queries:
        for g in gallery:
            found = rule.between(q, g)
            if not isinstance(found, PairComparison) or (found.query, found.gallery) != (q, g):
                return None
            pairs[q, g] = found
    return factorise(rule.blocks, pairs, queries, gallery)


def factorise(
    blocks: Sequence[FeatureBlock],
    pairs: Mapping[tuple[Subset, Subset], PairComparison],
    queries: Sequence[Subset],
    gallery: Sequence[Subset],
) -> StoredForm | None:
    """The form of comparisons given pair by pair; None where a block's weights have a rank above one.

    Args:
        blocks: the layout of a vector.
        pairs: the comparison of each of `queries` with each of `gallery`.
        queries, gallery: subsets that are embedded.

    >>> factorise((), {}, [], []) is None
    True
    """
    units = {pair.normaliser.unit for pair in pairs.values()}
    if len(units) != 1:
        return None
    factors: dict[tuple[str, Subset], float] = {}
    asked: dict[tuple[str, Subset], dict[str, float]] = {}
    weight = {
        key: {(t.query_block, t.gallery_block): t.weight for t in pair.terms} for key, pair in pairs.items()
    }
    for block in blocks:
        having = [g for g in gallery if any(b == block.name for q in queries for _, b in weight[q, g])]
        rows = sorted({(q, a) for q in queries for g in having for a, b in weight[q, g] if b == block.name})
        matrix = np.array([[weight[q, g].get((a, block.name), 0.0) for g in having] for q, a in rows])
        if not matrix.size:
            continue
        row = int(np.abs(matrix).max(axis=1).argmax())
        pivot = matrix[row] / matrix[row][int(np.abs(matrix[row]).argmax())]
        side = matrix @ pivot / (pivot @ pivot)
        if np.abs(matrix - np.outer(side, pivot)).max() > _ZERO * np.abs(matrix).max():
            return None
        factors |= {(block.name, g): float(f) for g, f in zip(having, pivot, strict=True)}
        for (q, a), value in zip(rows, side.tolist(), strict=True):
            asked.setdefault((block.name, q), {})[a] = value
    unit = units.pop()
    plain = (
        unit == "vector"
        and all(abs(f - 1) <= _ZERO for f in factors.values())
        and all(weights == {name: 1.0} for (name, _), weights in asked.items())
    )
    by_name = {block.name: block for block in blocks}
    if plain:
        return StoredForm(unit, True)
    return StoredForm(unit, False, by_name, _slots(blocks, queries, asked), factors, asked)


def _slots(
    blocks: Sequence[FeatureBlock],
    queries: Sequence[Subset],
    asked: Mapping[tuple[str, Subset], Weights],
) -> tuple[tuple[str, ...], ...]:
    """Gallery blocks by what is asked of them: those that every query asks alike share a slot."""
    slots: dict[tuple[object, ...], list[str]] = {}
    for block in blocks:
        sides = tuple(tuple(sorted(asked.get((block.name, q), {}).items())) for q in queries)
        if any(sides):
            slots.setdefault((block.size, sides), []).append(block.name)
    return tuple(tuple(names) for names in slots.values())
