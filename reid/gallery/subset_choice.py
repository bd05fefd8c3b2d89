"""Which gallery column a query is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reid.errors import UnsupportedPairing
from reid.modality import Subset, parse_subset, subset_name

Pairing = Callable[[Subset, Subset], tuple[Subset, Subset]]
"""A model's rule: (query, gallery) -> the subsets embedded; raises UnsupportedPairing."""


@dataclass(frozen=True)
class ComparedSubsets:
    """The modalities embedded, the column searched, and what the client should know."""

    query: Subset
    column: str
    warnings: tuple[str, ...] = ()


def plan(
    query: Subset, wanted: str | None, pairing: Pairing, coverage: Mapping[str, int], total: int
) -> ComparedSubsets:
    """Choose the comparison for a query.

    `coverage` is {indexed subset: items that have it} of `total` items. Without `wanted`, the
    column is the one that uses most of the query, then that most items have, then the richest.
    Raises UnsupportedPairing with the model's reason, or naming `index.subsets` when the gallery
    lacks the column.
    """
    if not query:
        raise UnsupportedPairing("An empty query: send at least one picture or a sentence.")
    if wanted is not None:
        used, compared = pairing(query, parse_subset(wanted))
        if subset_name(compared) not in coverage:
            raise _not_indexed(query, subset_name(compared), coverage)
        return _described(query, used, compared, coverage, total)
    options: list[tuple[Subset, Subset]] = []
    refusal: UnsupportedPairing | None = None
    missing: str | None = None
    for name in sorted(coverage, key=lambda s: -s.count("+")):
        try:
            used, compared = pairing(query, parse_subset(name))
        except UnsupportedPairing as error:
            refusal = refusal or error
            continue
        if subset_name(compared) in coverage:
            options.append((used, compared))
        else:
            missing = missing or subset_name(compared)
    if options:
        used, compared = max(options, key=lambda o: (len(o[0]), coverage[subset_name(o[1])], len(o[1])))
        return _described(query, used, compared, coverage, total)
    if missing is not None:
        raise _not_indexed(query, missing, coverage)
    raise refusal or UnsupportedPairing("This gallery indexes nothing; set index.subsets and index anew.")


def _not_indexed(query: Subset, column: str, coverage: Mapping[str, int]) -> UnsupportedPairing:
    return UnsupportedPairing(
        f"Query {subset_name(query)!r} would be compared on {column!r}, which this gallery does "
        "not index; "
        f"it has {', '.join(coverage)}. Add it to index.subsets and index anew."
    )


def _described(
    query: Subset, used: Subset, compared: Subset, coverage: Mapping[str, int], total: int
) -> ComparedSubsets:
    column = subset_name(compared)
    unused = [m for m in query if m not in used]
    warnings = []
    if unused:
        warnings.append(f"Not used: {subset_name(unused)}; the comparison is on {subset_name(used)}.")
    if total == 0:
        warnings.append("The gallery is empty.")
    elif coverage[column] < total:
        lacking = total - coverage[column]
        warnings.append(f"{lacking} of {total} items have no {column} and were not searched.")
    return ComparedSubsets(used, column, tuple(warnings))
