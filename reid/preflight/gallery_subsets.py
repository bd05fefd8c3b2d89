"""Which gallery subsets are embedded: as configured, or those that searches need."""

from __future__ import annotations

from collections.abc import Sequence

from reid.modality import PHOTO, Subset, all_subsets, canonical, parse_subset
from reid.models.base import ReIDModel


def choose_subsets(asked: Sequence[str] | None, model: ReIDModel, present: Subset) -> list[Subset]:
    """The gallery subsets to embed: as configured, or RGB where all others find it, or every subset.

    Raises UnsupportedPairing for a configured subset that the model does not take.
    """
    if asked is not None:
        subsets = [parse_subset(s) for s in asked]
        for subset in subsets:
            model.pairing(subset, subset)
        return subsets
    side = canonical(set(present) & model.gallery_modalities)
    if model.comparison_rule.crosses and PHOTO in side:
        return [(PHOTO,)]
    return all_subsets(side)
