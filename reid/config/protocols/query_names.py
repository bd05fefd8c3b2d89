"""Names of queries: "nir+sketch", with an anchor "nir+sketch@sketch", with several samples "sketch*2+text".

`@` names the modality that the queries hang on: each of its items is asked once, the other parts accompany
it. `*` says how many samples of a modality a query has; `*all` takes all that an identity has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reid.errors import UsageError
from reid.modality import Modality, Subset, canonical, parse_modality, parse_subset

ALL = 0
"""Stands for every sample that an identity has, where a number of samples is given."""
MOST = 64
"""Samples of one modality that a name may ask for."""


@dataclass(frozen=True)
class AskedQuery:
    """What each query of a row consists of.

    >>> parse_query("text + sketch*2 @ text").name
    'sketch*2+text@text'
    """

    subset: Subset
    anchor: Modality | None = None  # None: of one sample alone, or not chosen yet
    samples: tuple[tuple[Modality, int], ...] = ()  # in canonical order; a modality not named has one

    @property
    def name(self) -> str:
        """The canonical name, which `parse_query` reads."""
        return query_name(self.subset, self.anchor, dict(self.samples))


def query_name(
    subset: Subset, anchor: Modality | None = None, samples: Mapping[Modality, int] | None = None
) -> str:
    """The name of a query with these parts.

    >>> query_name((Modality.SKETCH, Modality.TEXT), Modality.TEXT, {Modality.SKETCH: ALL})
    'sketch*all+text@text'
    """
    counts = {m: "all" if n == ALL else str(n) for m, n in (samples or {}).items()}
    parts = [f"{m.value}*{counts[m]}" if m in counts else m.value for m in canonical(subset)]
    return "+".join(parts) + (f"@{anchor.value}" if anchor is not None else "")


def parse_query(text: str) -> AskedQuery:
    """Parse the name of a query.

    Raises UsageError for an unknown modality, a wrong number, and an anchor that is not one of the parts.

    >>> parse_query("rgb*3").samples
    ((<Modality.RGB: 'rgb'>, 3),)
    """
    named, at, anchor_name = text.partition("@")
    counts: dict[Modality, int] = {}
    names = []
    for piece in named.split("+"):
        name, star, number = piece.partition("*")
        names.append(name)
        if star:
            counts[parse_modality(name)] = _number(number.strip().lower(), piece.strip())
    subset = parse_subset("+".join(names))
    anchor = parse_modality(anchor_name) if at else None
    if anchor is not None and anchor not in subset:
        raise UsageError(f"{text!r}: the anchor {anchor.value} is none of the query's parts.")
    return AskedQuery(subset, anchor, tuple((m, counts[m]) for m in canonical(counts)))


def _number(text: str, piece: str) -> int:
    if text == "all":
        return ALL
    if text.isdecimal() and 1 <= int(text) <= MOST:
        return int(text)
    raise UsageError(f"{piece!r}: after * stands a number from 1 to {MOST}, or all.")
