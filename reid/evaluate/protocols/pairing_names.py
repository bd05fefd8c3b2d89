"""Names of pairings: "sketch", "text->rgb", and "nir->rgb|nir" for a mixed gallery.

`+` joins modalities of one item; `|` separates the kinds of items of a mixed gallery. A query may name an
anchor and numbers of samples: "sketch*2+text@text->rgb" (`reid.config.protocols.query_names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reid.config.protocols.query_names import AskedQuery, parse_query
from reid.errors import UsageError
from reid.modality import Subset, parse_subset, subset_name

Kinds = tuple[Subset, ...]
"""The modality subsets that a gallery's items have: one subset, or several for a mixed gallery."""


def parse_gallery(text: str) -> Kinds:
    """ "rgb+nir" -> ((RGB, NIR),); "rgb|nir" -> ((RGB,), (NIR,)). Raises UsageError as `parse_subset`."""
    kinds = tuple(dict.fromkeys(parse_subset(kind) for kind in text.split("|")))
    if "|" in text and len(kinds) < 2:
        raise UsageError(f"Gallery {text!r} mixes only one kind of items; write {gallery_name(kinds)!r}.")
    return kinds


def split_pairing(text: str) -> tuple[Subset, Kinds | None]:
    """The query subset and the gallery of a pairing's name; None if no gallery is written.

    Raises UsageError for a mixed query, an unknown modality, and an anchor or a number of samples.
    """
    asked, kinds = split_asked(text)
    if asked.anchor is not None or asked.samples:
        raise UsageError(f"{text!r}: here stands a subset, without an anchor (@) and numbers of samples (*).")
    return asked.subset, kinds


def split_asked(text: str) -> tuple[AskedQuery, Kinds | None]:
    """The query and the gallery of a pairing's name; None if no gallery is written.

    Raises UsageError for a mixed query and for what `parse_query` refuses.
    """
    query, arrow, found = text.partition("->")
    if "|" in query:
        raise UsageError(
            f"{text!r}: only a gallery can be mixed; a query is one subset, e.g. 'nir->rgb|nir'."
        )
    return parse_query(query), parse_gallery(found) if arrow else None


def gallery_name(kinds: Sequence[Iterable[str]]) -> str:
    """ "rgb|nir"."""
    return "|".join(subset_name(parse_subset(kind)) for kind in kinds)
