"""A pairing: which modalities are asked of which gallery, and what is embedded to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reid.errors import UnsupportedPairing
from reid.evaluate.protocols.pairing_names import Kinds, gallery_name, split_pairing
from reid.modality import Subset, canonical, subset_name

PairRule = Callable[[Subset, Subset], tuple[Subset, Subset]]
"""Query and gallery subset -> the subsets that a model embeds to compare them; raises if it cannot."""


@dataclass(frozen=True)
class Pairing:
    """What is asked of what, and the subsets that are embedded to answer it."""

    query: Subset
    gallery: Subset  # of a mixed gallery: all modalities of its kinds
    query_used: Subset
    gallery_used: Subset
    mixed: Kinds = ()  # the kinds of items of a mixed gallery

    @property
    def kinds(self) -> Kinds:
        """The subsets that gallery items are embedded in."""
        return self.mixed or (self.gallery_used,)

    @property
    def gallery_name(self) -> str:
        """ "rgb", or "rgb|nir" for a mixed gallery."""
        return gallery_name(self.mixed) if self.mixed else subset_name(self.gallery)

    @property
    def name(self) -> str:
        """ "text->rgb"; one name when both sides are alike."""
        asked = subset_name(self.query)
        return asked if asked == self.gallery_name else f"{asked}->{self.gallery_name}"


def make_pairing(query: Subset, kinds: Kinds, rule: PairRule) -> Pairing:
    """A query subset against a gallery of one or several kinds. UnsupportedPairing if the model cannot."""
    used = [rule(query, kind) for kind in kinds]
    if len({q for q, _ in used}) > 1:
        raise UnsupportedPairing(
            f"This model compares {subset_name(query)!r} with the kinds of {gallery_name(kinds)!r} by "
            "different modalities, so that similarities have no common order; ask of one kind at a time."
        )
    if len(kinds) == 1:
        return Pairing(query, kinds[0], *used[0])
    embedded = tuple(dict.fromkeys(g for _, g in used))
    asked, found = (canonical(m for kind in side for m in kind) for side in (kinds, embedded))
    return Pairing(query, asked, used[0][0], found, embedded)


def parse_pairing(text: str, gallery: Kinds, rule: PairRule) -> Pairing:
    """ "sketch" (against `gallery`), "text->rgb", "nir->rgb|nir". UnsupportedPairing if the model cannot."""
    query, kinds = split_pairing(text)
    return make_pairing(query, kinds or gallery, rule)
