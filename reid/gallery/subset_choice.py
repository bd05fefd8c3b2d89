"""How the items of a gallery are compared with a query: each by its own subset, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from reid.comparison.mixed import (
    Calibrated,
    ComparedGroup,
    Stored,
    compare_mixed,
    own_comparison,
    richest_first,
)
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison, RefusedPair
from reid.errors import UnsupportedPairing
from reid.modality import Modality, Subset, parse_subset, subset_name

Compares = Callable[[Iterable[Modality], Iterable[Modality]], PairComparison | RefusedPair]
"""A model's `comparison`, whose refusals name the systems that can."""


@dataclass(frozen=True)
class ComparedGallery:
    """The modalities that a query is embedded in, the groups of items that are searched, what else is told.

    `left_out` counts the items that are not ranked, by the richest subset that is stored of them; `items` are
    ranked. `by_ratio` says that likelihood ratios merge the groups.
    """

    groups: tuple[ComparedGroup, ...]
    by_ratio: bool
    items: int
    left_out: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        """The modalities of the query that any group uses, by name."""
        return subset_name(m for group in self.groups for m in group.query)

    @property
    def gallery(self) -> str:
        """The subsets that items are compared by, e.g. "rgb+nir|rgb"."""
        stored = dict.fromkeys(subset for group in self.groups for subset in group.stored)
        return "|".join(map(subset_name, sorted(stored, key=richest_first)))


def plan(
    query: Subset,
    wanted: str | None,
    rule: ComparisonRule,
    compares: Compares,
    indexed: Iterable[str],
    kinds: Mapping[Stored, int],
    calibrated: Calibrated,
) -> ComparedGallery:
    """How a gallery is compared with a query.

    Args:
        query: its modalities.
        wanted: the subsets that items may be compared by, e.g. "rgb" or "rgb|nir"; None: all.
        rule, compares: of the model.
        indexed: the subsets that the gallery has vectors of.
        kinds: what is stored of items -> how many items.
        calibrated: which pairs of subsets have likelihood ratios.

    Raises UnsupportedPairing with the model's reason, or naming `index.subsets` when the gallery lacks the
    subset.
    """
    if not query:
        raise UnsupportedPairing("An empty query: send at least one picture or a sentence.")
    allowed = _allowed(query, wanted, rule, compares, tuple(indexed))
    real: dict[Stored, list[Stored]] = {}
    for kind in kinds:
        real.setdefault(tuple(s for s in kind if s in allowed), []).append(kind)
    counts = {own: sum(kinds[k] for k in of) for own, of in real.items() if own}
    # Clients may name many combinations of subsets: those share an index a subset, and get none of their own.
    joined = wanted is None
    how = compare_mixed(rule, query, counts, calibrated, joined)
    if not how.groups:  # nothing to search: what it would be compared by is told all the same
        how = compare_mixed(rule, query, {(subset,): 0 for subset in allowed}, calibrated, joined)
    groups = tuple(
        replace(group, kinds=frozenset(k for own in group.kinds for k in real.get(own, ())))
        for group in how.groups
    )
    compared = {kind for group in groups for kind in group.kinds}
    rest = {kind: count for kind, count in kinds.items() if kind not in compared}
    left_out: dict[str, int] = {}
    for kind, count in rest.items():
        name = subset_name(sorted(kind, key=richest_first)[0]) if kind else ""
        left_out[name] = left_out.get(name, 0) + count
    items = sum(kinds[kind] for kind in compared)
    found = ComparedGallery(groups, how.by_ratio, items, left_out)
    named = None if wanted is None else allowed
    return replace(found, warnings=tuple(_told(query, named, rule, found, rest, sum(kinds.values()))))


def _allowed(
    query: Subset, wanted: str | None, rule: ComparisonRule, compares: Compares, indexed: tuple[str, ...]
) -> tuple[Subset, ...]:
    """The indexed subsets that items may be compared by."""
    names = indexed if wanted is None else tuple(subset_name(parse_subset(w)) for w in wanted.split("|"))
    usable: dict[Subset, None] = {}
    refused: Subset | None = None
    missing: str | None = None
    for subset in sorted(map(parse_subset, names), key=richest_first):
        found = rule.between(query, subset)
        if isinstance(found, RefusedPair):
            refused = refused or subset
        elif subset_name(found.gallery) in indexed:
            usable[found.gallery] = None
        else:
            missing = missing or subset_name(found.gallery)
    if usable and (wanted is None or not (refused or missing)):
        return tuple(usable)
    if missing is not None and (refused is None or wanted is None):
        raise UnsupportedPairing(
            f"Query {subset_name(query)!r} would be compared on {missing!r}, which this gallery does not "
            f"index; it has {', '.join(indexed)}. Add it to index.subsets and index anew."
        )
    if refused is None:
        raise UnsupportedPairing("This gallery indexes nothing; set index.subsets and index anew.")
    why = compares(query, refused)
    assert isinstance(why, RefusedPair), "as the rule says"
    raise UnsupportedPairing(why.message)


def _told(
    query: Subset,
    named: tuple[Subset, ...] | None,
    rule: ComparisonRule,
    found: ComparedGallery,
    rest: Mapping[Stored, int],
    total: int,
) -> list[str]:
    """What the client should know. `named` are the subsets that the client wants items to be compared by."""
    said = []
    unused = [m for m in query if m.value not in found.query.split("+")]
    if unused:
        said.append(f"Not used: {subset_name(unused)}; the comparison is on {found.query}.")
    if total == 0:
        return [*said, "The gallery is empty."]
    lacking = 0
    incomparable: dict[str, int] = {}
    scales: dict[str, int] = {}
    for kind, count in rest.items():
        if not kind or (named is not None and not set(kind) & set(named)):
            lacking += count
            continue
        name = subset_name(sorted(kind, key=richest_first)[0])
        of = incomparable if own_comparison(rule, query, kind) is None else scales
        of[name] = of.get(name, 0) + count
    if lacking:
        wanted = found.gallery if named is None else "|".join(map(subset_name, named))
        said.append(f"{lacking} of {total} items have no {wanted} and were not searched.")
    if incomparable:
        said.append(
            f"{sum(incomparable.values())} of {total} items were left out, for they cannot be compared with "
            f"{subset_name(query)}: {_counted(incomparable)}."
        )
    if scales:
        said.append(
            f"{sum(scales.values())} of {total} items were left out, for their scores and those of "
            f"{found.gallery} have no common order and are not all calibrated: {_counted(scales)}. Name a "
            "subset as the gallery to compare by it alone."
        )
    return said


def _counted(items: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in items.items())
