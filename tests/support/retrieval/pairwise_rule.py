"""The slow way to compare a query with a mixed gallery: pair by pair and term by term, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid.comparison.mixed import MixedComparison, Stored, compare_mixed
from reid.comparison.regimes import Regime
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import FeatureBlock
from reid.modality import Subset, parse_subset

CAMERAS = parse_subset("rgb+nir+tir")
WIDTH = 6


def aligned_rule(modalities: Subset = CAMERAS, completes: bool = False) -> ComparisonRule:
    """A block a modality."""
    blocks = tuple(
        FeatureBlock(m.value, i * WIDTH, (i + 1) * WIDTH, m.value) for i, m in enumerate(modalities)
    )
    return ComparisonRule(Regime.MATCHED, blocks, modalities, modalities, completes)


def space_rule(modalities: Subset = CAMERAS) -> ComparisonRule:
    """Two parts of one space."""
    blocks = (FeatureBlock("related", 0, WIDTH), FeatureBlock("erased", WIDTH, 2 * WIDTH))
    return ComparisonRule(Regime.ANY_TO_ANY, blocks, modalities, modalities)


def decoupled_rule(modalities: Subset = CAMERAS) -> ComparisonRule:
    """A specific and a shared block a modality."""
    blocks: list[FeatureBlock] = []
    for shared in (False, True):
        for m in modalities:
            start = len(blocks) * WIDTH
            name = f"{'shared' if shared else 'specific'}_{m.value}"
            blocks.append(FeatureBlock(name, start, start + WIDTH, m.value, shared))
    return ComparisonRule(Regime.DECOUPLED, tuple(blocks), modalities, modalities)


RULES = {
    "matched": aligned_rule(),
    "completed": aligned_rule(completes=True),
    "any_to_any": space_rule(),
    "decoupled": decoupled_rule(),
}


def embedded(
    rule: ComparisonRule, subset: Subset, rng: np.random.Generator, coarse: bool = False
) -> np.ndarray:
    """(dim,) unit vector as a model embeds a subset: blocks of absent modalities are zero unless completed.

    `coarse` vectors have few different entries, so that scores are equal often.
    """
    size = rule.blocks[-1].stop
    x = rng.integers(-1, 2, size).astype(np.float64) if coarse else rng.standard_normal(size)
    x += coarse * 0.25
    for block in rule.blocks:
        if block.modality and block.modality not in subset and not rule.completes:
            x[block.slice] = 0
        elif rule.regime is Regime.DECOUPLED:
            x[block.slice] /= np.linalg.norm(x[block.slice])
    return (x / np.linalg.norm(x)).astype(np.float32)


def pairwise(
    rule: ComparisonRule,
    found: MixedComparison,
    query: dict[Subset, np.ndarray],
    items: Sequence[dict[Subset, np.ndarray]],
) -> dict[int, float]:
    """{position: score} of the items that can be ranked together.

    `query` and `items` have a vector for each subset that they may be embedded in.
    """
    group_of = {kind: group for group in found.groups for kind in group.kinds}
    scores = {}
    for place, item in enumerate(items):
        group = group_of.get(tuple(item))
        if group is None:
            continue
        stored = next(s for s in group.stored if s in item)
        pair = rule.between(group.query, stored)
        assert not hasattr(pair, "reason")
        scores[place] = rule.score(pair, query[group.query], item[stored])
    return scores


def kinds_of(items: Sequence[dict[Subset, np.ndarray]]) -> dict[Stored, int]:
    """How many items have which subsets stored."""
    found: dict[Stored, int] = {}
    for item in items:
        found[tuple(item)] = found.get(tuple(item), 0) + 1
    return found


def uncalibrated(
    rule: ComparisonRule, query: Subset, items: Sequence[dict[Subset, np.ndarray]]
) -> MixedComparison:
    """The comparison of a query with items where nothing is calibrated."""
    return compare_mixed(rule, query, kinds_of(items), lambda q, g: False)
