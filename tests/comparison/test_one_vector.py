"""One inner product of stored with asked vectors is the score that terms give pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from reid.comparison.one_vector import factorise, one_vector
from reid.comparison.terms import Normaliser, PairComparison, Term
from reid.modality import Subset, all_subsets, parse_subset
from tests.support.retrieval.pairwise_rule import (
    CAMERAS,
    RULES,
    WIDTH,
    aligned_rule,
    decoupled_rule,
    embedded,
    pairwise,
    uncalibrated,
)

SUBSETS = all_subsets(CAMERAS)


@pytest.mark.parametrize("coarse", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("regime", RULES)
def test_every_query_ranks_a_mixed_gallery_as_the_pairwise_rule_does(regime: str, coarse: bool) -> None:
    rule, rng = RULES[regime], np.random.default_rng(len(regime))
    items: list[dict[Subset, np.ndarray]] = []
    for n in range(120):
        own = SUBSETS[rng.integers(len(SUBSETS))]
        stored = [own] if rule.embeds_whole else [s for s in SUBSETS if set(s) <= set(own)]
        if coarse and n % 3 == 2 and items[-1].keys() == dict.fromkeys(stored).keys():
            items.append(items[-1])
        else:
            items.append({s: embedded(rule, s, rng, coarse) for s in stored})
    tied = 0
    for query in SUBSETS:
        vectors = {s: embedded(rule, s, rng, coarse) for s in SUBSETS if set(s) <= set(query)}
        found = uncalibrated(rule, query, items)
        slow = pairwise(rule, found, vectors, items)
        fast = {}
        for group in found.groups:
            (asked,) = group.form.asked(vectors[group.query][None], group.query)
            for place, item in enumerate(items):
                if tuple(item) in group.kinds:
                    subset = next(s for s in group.stored if s in item)
                    fast[place] = float(group.form.stored(item[subset][None], subset)[0] @ asked)
        assert fast.keys() == slow.keys() and slow
        assert max(abs(fast[p] - slow[p]) for p in slow) <= 1e-6
        exact = {p: round(s, 5) for p, s in slow.items()}
        tied += len(exact) - len(set(exact.values()))
        near = {p: round(s, 5) for p, s in fast.items()}
        assert sorted(exact, key=lambda p: (-exact[p], p)) == sorted(near, key=lambda p: (-near[p], p))
    assert tied or not coarse


def test_the_decoupled_rule_is_one_group_whose_shared_blocks_are_added_up() -> None:
    form = one_vector(decoupled_rule(), SUBSETS, SUBSETS)
    assert form is not None
    assert form.slots == (
        ("specific_rgb",),
        ("specific_nir",),
        ("specific_tir",),
        ("shared_rgb", "shared_nir", "shared_tir"),
    )
    vector = embedded(decoupled_rule(), SUBSETS[0], np.random.default_rng(0))
    assert form.stored(vector[None], SUBSETS[0]).shape == (1, 4 * WIDTH)


def test_a_weight_that_depends_on_both_subsets_together_has_no_one_vector() -> None:
    blocks = aligned_rule().blocks
    pairs = {}
    for q in SUBSETS:
        for g in SUBSETS:
            common = [m.value for m in q if m in g]
            terms = tuple(Term(m, m, 1 / len(common)) for m in common)  # rank 4 over the sets with a block
            pairs[q, g] = PairComparison(q, g, terms, Normaliser("block", "all"))
    assert factorise(blocks, pairs, SUBSETS, SUBSETS) is None
    for g in SUBSETS:  # in groups by subset it has
        assert factorise(blocks, pairs, SUBSETS, [g]) is not None


def test_subsets_that_a_matched_model_cannot_compare_have_no_one_vector() -> None:
    rgb, nir = parse_subset("rgb"), parse_subset("nir")
    assert one_vector(aligned_rule(), [rgb], [nir]) is None
    assert one_vector(aligned_rule(), [rgb], [rgb]) is not None
