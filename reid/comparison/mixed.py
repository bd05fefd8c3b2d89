"""A mixed gallery: which vector of an item a query is compared with, and which items are ranked together.

An item is compared by its own subset, the richest of those stored of it that the query can be compared with:
that depends on the item and the query alone, so that no other item changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from reid.comparison.one_vector import StoredForm, one_vector
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison
from reid.modality import ORDER, Subset, all_subsets, canonical, subset_name

Stored = tuple[Subset, ...]
"""The subsets that vectors of an item are stored of."""
Calibrated = Callable[[str, str], bool]
"""Names of the query and the gallery subset -> whether similarities of them have likelihood ratios."""


def uncalibrated(query: str, gallery: str) -> bool:
    """No pair of subsets has likelihood ratios.

    >>> uncalibrated("rgb", "rgb")
    False
    """
    return False


@dataclass(frozen=True)
class ComparedGroup:
    """Items that one inner product with one query vector compares.

    `stored` are the subsets that their vectors are of, in the order in which an item's is looked for; `kinds`
    are the kinds of items, by what is stored of them; `scale` is that of the scores.
    """

    query: Subset
    stored: Stored
    kinds: frozenset[Stored]
    scale: str
    form: StoredForm

    @property
    def gallery_name(self) -> str:
        """The subsets, e.g. "rgb|nir"."""
        return "|".join(map(subset_name, self.stored))


@dataclass(frozen=True)
class MixedComparison:
    """How the items of a gallery are compared with one query.

    `by_ratio` says that groups of different scales are merged by their calibrated likelihood ratios; all
    others are merged by score. `left_out` are the kinds that could not be ranked with the rest.
    """

    groups: tuple[ComparedGroup, ...]
    by_ratio: bool
    left_out: frozenset[Stored]

    @property
    def query(self) -> Subset:
        """The modalities of the query that any group uses."""
        return canonical(m for group in self.groups for m in group.query)


def worth_storing(rule: ComparisonRule, has: Iterable[Subset]) -> Stored:
    """Which of the subsets that an item has need a stored vector.

    Where items are embedded as they are, whatever is asked: those that no other of them contains; else all.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.modality import all_subsets, parse_subset
    >>> both = parse_subset("rgb+nir")
    >>> [len(worth_storing(ComparisonRule(r, (), both, both), all_subsets(both))) for r in Regime]
    [3, 1, 1]
    >>> any_to_any = ComparisonRule(Regime.ANY_TO_ANY, (), both, both)
    >>> len(worth_storing(any_to_any, [parse_subset("rgb"), parse_subset("nir")]))
    2
    """
    subsets = sorted(set(has), key=richest_first)
    if not rule.embeds_whole:
        return tuple(subsets)
    return tuple(s for s in subsets if not any(set(s) < set(other) for other in subsets))


def own_comparison(rule: ComparisonRule, query: Subset, stored: Iterable[Subset]) -> PairComparison | None:
    """How a query is compared with an item of which these subsets are stored; None where it cannot be.

    Of the comparisons with a stored subset, the one that uses most of the query, then most of the item.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.comparison.terms import FeatureBlock
    >>> from reid.modality import all_subsets, parse_subset
    >>> both = parse_subset("rgb+nir")
    >>> rule = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), both, both)
    >>> own_comparison(rule, parse_subset("rgb"), all_subsets(both)).name
    'rgb->rgb+nir'
    """
    best: PairComparison | None = None
    for subset in sorted(stored, key=richest_first):
        found = rule.between(query, subset)
        if not isinstance(found, PairComparison) or found.gallery != subset:
            continue
        if best is None or _uses(found) > _uses(best):
            best = found
    return best


def compare_mixed(
    rule: ComparisonRule,
    query: Subset,
    kinds: Mapping[Stored, int],
    calibrated: Calibrated,
    joined: bool = True,
) -> MixedComparison:
    """How the items of a gallery are compared with a query, and which cannot be.

    Args:
        rule: of the model.
        query: modalities of the query.
        kinds: what is stored of items -> how many items that is true of.
        calibrated: which pairs of subsets have likelihood ratios.
        joined: whether items of several subsets are one group where one stored vector an item allows it; else
            each subset is a group.

    Returns:
        Groups of one scale; or of several scales if all are calibrated. Else those of one scale remain, the
        one that uses most of the query, then has most items, then uses most of the items.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.comparison.terms import FeatureBlock
    >>> from reid.modality import parse_subset
    >>> rgb, nir = parse_subset("rgb"), parse_subset("nir")
    >>> layout = (FeatureBlock("rgb", 0, 4, "rgb"), FeatureBlock("nir", 4, 8, "nir"))
    >>> rule = ComparisonRule(Regime.MATCHED, layout, rgb + nir, rgb + nir)
    >>> found = compare_mixed(rule, nir, {(rgb,): 7, (nir,): 5}, lambda q, g: False)
    >>> [group.gallery_name for group in found.groups], found.left_out == {(rgb,)}
    (['nir'], True)
    """
    chosen = {kind: own_comparison(rule, query, kind) for kind in kinds}
    members: dict[tuple[Subset, Subset], list[Stored]] = {}
    scale: dict[tuple[Subset, Subset], str] = {}
    for kind, pair in chosen.items():
        if pair is not None:
            members.setdefault((pair.query, pair.gallery), []).append(kind)
            scale[pair.query, pair.gallery] = pair.normaliser.scale
    by_ratio = len(set(scale.values())) > 1
    if by_ratio and not all(calibrated(subset_name(q), subset_name(g)) for q, g in scale):
        by_ratio = False
        kept = _best_scale(scale, {pair: sum(kinds[k] for k in of) for pair, of in members.items()})
        members = {pair: of for pair, of in members.items() if scale[pair] == kept}
    groups = _grouped(rule, members, scale, joined=joined and not by_ratio)
    compared = {kind for group in groups for kind in group.kinds}
    return MixedComparison(groups, by_ratio, frozenset(k for k in kinds if k and k not in compared))


def richest_first(subset: Subset) -> list[int]:
    """A sort key: where a subset stands among others, the richest first, then in canonical order.

    >>> from reid.modality import parse_subset
    >>> sorted(map(parse_subset, ["nir", "rgb", "rgb+nir"]), key=richest_first)[0] == parse_subset("rgb+nir")
    True
    """
    return [-len(subset), *map(ORDER.index, subset)]


@lru_cache(maxsize=256)
def _form(rule: ComparisonRule, asked: Subset | None, stored: Stored) -> StoredForm | None:
    """The form for one query subset, or for all that there are."""
    return one_vector(rule, all_subsets(rule.query) if asked is None else [asked], stored)


def _uses(pair: PairComparison) -> tuple[int, int]:
    return len(pair.query), len(pair.gallery)


def _best_scale(
    scale: Mapping[tuple[Subset, Subset], str], items: Mapping[tuple[Subset, Subset], int]
) -> str:
    def worth(name: str) -> tuple[int, int, int, str]:
        pairs = [pair for pair, own in scale.items() if own == name]
        most = max(len(q) for q, _ in pairs), max(len(g) for _, g in pairs)
        return most[0], sum(items[pair] for pair in pairs), most[1], name

    return max(set(scale.values()), key=worth)


def _grouped(
    rule: ComparisonRule,
    members: Mapping[tuple[Subset, Subset], Sequence[Stored]],
    scale: Mapping[tuple[Subset, Subset], str],
    joined: bool,
) -> tuple[ComparedGroup, ...]:
    """One group for all that one stored vector an item answers, else one for each pair of subsets."""
    asked = list(dict.fromkeys(q for q, _ in members))
    if joined and len(members) > 1 and len(asked) == 1 and rule.embeds_whole:
        stored = tuple(sorted((g for _, g in members), key=richest_first))
        form = _form(rule, None, stored)
        if form is not None:
            kinds = frozenset(kind for of in members.values() for kind in of)
            return (ComparedGroup(asked[0], stored, kinds, next(iter(scale.values())), form),)
    made = []
    for (q, g), of in members.items():
        form = _form(rule, None if rule.embeds_whole else q, (g,))
        assert form is not None, "one gallery subset has rank one"
        made.append(ComparedGroup(q, (g,), frozenset(of), scale[q, g], form))
    return tuple(made)
