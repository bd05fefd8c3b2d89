"""The regimes: how vectors of different subsets of modalities relate, as terms and a normaliser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from reid.comparison.terms import FeatureBlock, Normaliser, PairComparison, Term
from reid.modality import Subset, canonical, subset_name

ALL = "all"
"""The scale of scores that have one order for all subsets."""


class Regime(StrEnum):
    """How vectors of different modality subsets relate to each other.

    >>> Regime("matched") is Regime.MATCHED
    True
    """

    MATCHED = "matched"
    """One layout; both sides are compared on their common modalities."""
    ANY_TO_ANY = "any_to_any"
    """Every supported subset lands in one shared space."""
    DECOUPLED = "decoupled"
    """Blocks of their own for each modality: specific ones meet their like, shared ones meet all."""


def one_space(query: Subset, gallery: Subset, blocks: Sequence[FeatureBlock]) -> PairComparison:
    """Both sides as they are, by the cosine of their whole vectors: any-to-any, and models that complete.

    Args:
        query, gallery: the subsets that are embedded.
        blocks: the layout of a vector.

    >>> from reid.modality import parse_subset
    >>> one_space(parse_subset("text"), parse_subset("rgb"), [FeatureBlock("shared", 0, 8)]).terms
    (Term(query_block='shared', gallery_block='shared', weight=1.0),)
    """
    terms = tuple(Term(block.name, block.name, 1.0) for block in blocks)
    return PairComparison(query, gallery, terms, Normaliser("vector", ALL))


def common_blocks(query: Subset, gallery: Subset, blocks: Sequence[FeatureBlock]) -> PairComparison | None:
    """The modalities that both sides have, embedded alone: matched. None where they have none in common.

    Scores over different modalities are different scales: more of them spread differently.

    Args:
        query, gallery: the two subsets.
        blocks: the layout of a vector; blocks of no modality are always compared.

    >>> from reid.modality import parse_subset
    >>> blocks = [FeatureBlock("rgb", 0, 4, "rgb"), FeatureBlock("nir", 4, 8, "nir")]
    >>> common_blocks(parse_subset("rgb+nir"), parse_subset("nir"), blocks).name
    'nir'
    >>> common_blocks(parse_subset("rgb"), parse_subset("nir"), blocks) is None
    True
    """
    common = canonical(set(query) & set(gallery))
    if not common:
        return None
    terms = tuple(Term(b.name, b.name, 1.0) for b in blocks if _speaks(b, common))
    return PairComparison(common, common, terms, Normaliser("vector", subset_name(common)))


def decoupled(query: Subset, gallery: Subset, blocks: Sequence[FeatureBlock]) -> PairComparison:
    """Specific blocks with the same modality's, shared blocks with all shared ones, by 1 / (2 |Q| |G|).

    The rule of MDReID (NeurIPS 2025), each block of unit norm: half of the score is of the specific blocks
    and half of the shared ones.

    Args:
        query, gallery: the subsets that are embedded.
        blocks: the layout of a vector; each block has a modality.

    >>> from reid.modality import parse_subset
    >>> blocks = [FeatureBlock("rgb", 0, 4, "rgb"), FeatureBlock("rgb shared", 4, 8, "rgb", shared=True)]
    >>> [term.weight for term in decoupled(parse_subset("rgb"), parse_subset("rgb"), blocks).terms]
    [0.5, 0.5]
    """
    weight = 1 / (2 * len(query) * len(gallery))
    asked = [b for b in blocks if _speaks(b, query)]
    found = [b for b in blocks if _speaks(b, gallery)]
    terms = tuple(
        Term(a.name, b.name, weight)
        for a in asked
        for b in found
        if (a.shared and b.shared) or (a.name == b.name and not a.shared)
    )
    return PairComparison(query, gallery, terms, Normaliser("block", ALL))


def _speaks(block: FeatureBlock, modalities: Iterable[str]) -> bool:
    return not block.modality or block.modality in {str(m) for m in modalities}
