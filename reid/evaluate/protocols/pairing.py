"""A pairing: the modalities of query and gallery, and the subsets that are embedded to compare them."""

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
    """The modalities of both sides, and the subsets that the model embeds.

    >>> from reid.modality import Modality
    >>> Pairing((Modality.TEXT,), (Modality.RGB,), (Modality.TEXT,), (Modality.RGB,)).name
    'text->rgb'
    """

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
        """The gallery's subset, e.g. "rgb"; its kinds joined by "|" if it is mixed, e.g. "rgb|nir"."""
        return gallery_name(self.mixed) if self.mixed else subset_name(self.gallery)

    @property
    def name(self) -> str:
        """Query and gallery, e.g. "text->rgb"; one name if both are the same."""
        asked = subset_name(self.query)
        return asked if asked == self.gallery_name else f"{asked}->{self.gallery_name}"


def make_pairing(query: Subset, kinds: Kinds, rule: PairRule) -> Pairing:
    """Pair a query subset with a gallery of one or several kinds.

    Args:
        query: modalities of a query, in canonical order.
        kinds: the subset of a plain gallery, or several subsets of a mixed one.
        rule: what the model embeds for a query and a gallery subset (`ReIDModel.pairing`).

    Raises UnsupportedPairing if the model cannot compare them, or not all kinds by the same query vector.

    >>> from reid.modality import Modality
    >>> rgb, nir = (Modality.RGB,), (Modality.NIR,)
    >>> make_pairing(nir, (rgb, nir), lambda query, gallery: (query, gallery)).name
    'nir->rgb|nir'
    """
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
    """Parse the name of a pairing.

    Args:
        text: "sketch" (against `gallery`), "text->rgb", or "nir->rgb|nir" for a mixed gallery.
        gallery: kinds of the gallery where the text names none.
        rule: what the model embeds for a query and a gallery subset (`ReIDModel.pairing`).

    Raises UsageError for a name that cannot be parsed, UnsupportedPairing if the model cannot compare them.

    >>> from reid.modality import Modality
    >>> parse_pairing("text", ((Modality.RGB,),), lambda query, gallery: (query, gallery)).name
    'text->rgb'
    """
    query, kinds = split_pairing(text)
    return make_pairing(query, kinds or gallery, rule)
