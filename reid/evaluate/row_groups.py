"""Which rows of an evaluation belong to the named groups whose means the report states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reid.config.protocols.row_groups import RowGroupConfig
from reid.config.typed import did_you_mean
from reid.errors import AnyReIDError, ConfigError
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.pairing_names import gallery_name, split_asked

FIELD = "evaluate.protocol.averages"


def resolved_groups(
    groups: Mapping[str, RowGroupConfig], pairings: Sequence[Pairing]
) -> dict[str, tuple[Pairing, ...]]:
    """The rows of each group, in the order of the evaluation; a group by sizes may have none.

    Raises ConfigError for a name that is no row.

    >>> from reid.modality import Modality
    >>> text, rgb = (Modality.TEXT,), (Modality.RGB,)
    >>> found = resolved_groups({"all": RowGroupConfig()}, [Pairing(text, rgb, text, rgb)])
    >>> [row.name for row in found["all"]]
    ['text->rgb']
    """
    return {name: _rows(f"{FIELD}.{name}", group, pairings) for name, group in groups.items()}


def _rows(field: str, group: RowGroupConfig, pairings: Sequence[Pairing]) -> tuple[Pairing, ...]:
    if group.sizes is not None:
        return tuple(p for p in pairings if len(p.query) in group.sizes)
    if group.rows is None:
        return tuple(pairings)
    chosen: set[Pairing] = set()
    for text in group.rows:
        found = _named(field, text, pairings)
        if not found:
            known = [pairing.name for pairing in pairings]
            raise ConfigError(f"{field}: no row is called {text!r}.{did_you_mean(text, known)}")
        chosen.update(found)
    return tuple(p for p in pairings if p in chosen)


def _named(field: str, text: str, pairings: Sequence[Pairing]) -> list[Pairing]:
    """The rows that a name stands for: what it says nothing about (gallery, anchor, samples) may be any."""
    try:
        asked, kinds = split_asked(text)
    except AnyReIDError as error:
        raise ConfigError(f"{field}: {error}") from None
    exact = [p for p in pairings if p.name == text]
    return exact or [
        p
        for p in pairings
        if p.query == asked.subset
        and (kinds is None or p.gallery_name == gallery_name(kinds))
        and asked.anchor in (None, p.anchor)
        and asked.samples in ((), p.samples)
    ]
