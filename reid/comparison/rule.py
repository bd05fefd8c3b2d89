"""What a model says of every pair of subsets, as one small record that run folders and galleries keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from reid.comparison.regimes import Regime, common_blocks, decoupled, one_space
from reid.comparison.terms import FeatureBlock, PairComparison, RefusedPair
from reid.errors import UsageError
from reid.modality import Modality, Subset, canonical, parse_modality, subset_name

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ComparisonRule:
    """The comparisons of all pairs of subsets of one model.

    `blocks` are the layout of a vector. `query` and `gallery` are the modalities that each side may have.
    `completes` says that a matched model fills in missing modalities, so that all blocks are compared.

    >>> from reid.modality import parse_subset
    >>> both = parse_subset("rgb+nir")
    >>> blocks = (FeatureBlock("rgb", 0, 4, "rgb"), FeatureBlock("nir", 4, 8, "nir"))
    >>> rule = ComparisonRule(Regime.MATCHED, blocks, both, both)
    >>> rule.between(both, parse_subset("nir")).name
    'nir'
    >>> rule.between(parse_subset("rgb"), parse_subset("nir")).reason
    "A matched model compares common modalities, and query 'rgb' shares none with gallery 'nir'."
    """

    regime: Regime
    blocks: tuple[FeatureBlock, ...]
    query: Subset
    gallery: Subset
    completes: bool = False

    @property
    def embeds_whole(self) -> bool:
        """Whether both sides are embedded as they are, whatever the other side has."""
        return self.regime is not Regime.MATCHED or self.completes

    @property
    def crosses(self) -> bool:
        """Whether a query is meant to find items that have none of its modalities."""
        return self.regime is not Regime.MATCHED

    @cached_property
    def by_name(self) -> Mapping[str, FeatureBlock]:
        """The blocks by name."""
        return {block.name: block for block in self.blocks}

    def between(self, query: Iterable[Modality], gallery: Iterable[Modality]) -> PairComparison | RefusedPair:
        """How a query subset is compared with a gallery subset.

        Args:
            query, gallery: the modalities of each side, in any order.

        Returns:
            Terms and normaliser over the subsets to embed; or why there are none. Matched models leave out
            modalities that they do not know, all others refuse them.
        """
        q, g = canonical(query), canonical(gallery)
        if not q or not g:
            return RefusedPair("Empty modality subset: both sides need at least one modality.")
        for side, subset, known in (("query", q, self.query), ("gallery", g, self.gallery)):
            stray = [m for m in subset if m not in known]
            if stray and not (self.regime is Regime.MATCHED and set(subset) & set(known)):
                return RefusedPair(
                    f"This model cannot take {subset_name(stray)} on the {side} side; it takes any subset of "
                    f"{subset_name(known)}."
                )
        if self.regime is Regime.DECOUPLED:
            return decoupled(q, g, self.blocks)
        asked, found = canonical(set(q) & set(self.query)), canonical(set(g) & set(self.gallery))
        if self.embeds_whole:
            return one_space(asked, found, self.blocks)
        return common_blocks(
            canonical(set(asked) & set(self.gallery)), canonical(set(found) & set(self.query)), self.blocks
        ) or RefusedPair(
            f"A matched model compares common modalities, and query {subset_name(q)!r} shares none with "
            f"gallery {subset_name(g)!r}."
        )

    @property
    def comparison_rule(self) -> ComparisonRule:
        """Itself: a rule can stand for its model where only comparisons are asked for."""
        return self

    def comparison(
        self, query: Iterable[Modality], gallery: Iterable[Modality]
    ) -> PairComparison | RefusedPair:
        """As `between`; a model's refusals also name the systems that can."""
        return self.between(query, gallery)

    def score(self, comparison: PairComparison, query: Floats, gallery: Floats) -> float:
        """The score of one pair, term by term in float64.

        Args:
            comparison: one of this rule.
            query, gallery: (dim,) vectors of `comparison.query` and `comparison.gallery`.

        >>> from reid.modality import parse_subset
        >>> rgb = parse_subset("rgb")
        >>> rule = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 2),), rgb, rgb)
        >>> vector = np.array([0.6, 0.8], np.float32)
        >>> round(rule.score(rule.between(rgb, rgb), vector, vector), 6)
        1.0
        """
        whole = comparison.normaliser.unit == "vector"
        total = 0.0
        for term in comparison.terms:
            x = query[self.by_name[term.query_block].slice].astype(np.float64)
            y = gallery[self.by_name[term.gallery_block].slice].astype(np.float64)
            norm = 1.0 if whole else float(np.linalg.norm(x) * np.linalg.norm(y))
            total += term.weight * float(x @ y) / norm if norm else 0.0
        return total

    @property
    def summary(self) -> str:
        """The rule in a few words, for messages.

        >>> ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), (), ()).summary
        'any-to-any, blocks shared of 8 entries, rule ...'
        """
        names = ", ".join(block.name for block in self.blocks)
        entries = max((block.stop for block in self.blocks), default=0)
        regime = self.regime.value.replace("_", "-")
        return f"{regime}, blocks {names} of {entries} entries, rule {self.fingerprint}"

    def as_json(self) -> dict[str, Any]:
        """The record, of names and numbers only.

        >>> ComparisonRule(Regime.ANY_TO_ANY, (), (), ()).as_json()["regime"]
        'any_to_any'
        """
        return {
            "regime": self.regime.value,
            "completes": self.completes,
            "query": [m.value for m in self.query],
            "gallery": [m.value for m in self.gallery],
            "blocks": [asdict(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> ComparisonRule:
        """The rule of a record.

        Raises UsageError for a regime or a modality that nobody knows here, or a damaged record.

        >>> rule = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), (), ())
        >>> ComparisonRule.from_json(rule.as_json()) == rule
        True
        """
        try:
            regime = Regime(tree["regime"])
            query, gallery = (canonical(map(parse_modality, tree[side])) for side in ("query", "gallery"))
            blocks = tuple(FeatureBlock(**block) for block in tree["blocks"])
            return cls(regime, blocks, query, gallery, bool(tree["completes"]))
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise UsageError(f"A comparison rule of unknown terms ({error}).") from None

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits that differ where the rule does.

        >>> len(ComparisonRule(Regime.ANY_TO_ANY, (), (), ()).fingerprint)
        12
        """
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:12]
