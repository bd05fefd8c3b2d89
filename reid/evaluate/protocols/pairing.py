"""A pairing: the modalities of query and gallery, the subsets that are embedded, how they are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from reid.comparison.mixed import Calibrated, MixedComparison, compare_mixed, uncalibrated
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison, RefusedPair
from reid.config.protocols.companions import EACH
from reid.config.protocols.query_names import AskedQuery, query_name
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import ConfigError, UnsupportedPairing
from reid.evaluate.protocols.pairing_names import Kinds, gallery_name, split_asked
from reid.modality import Modality, Subset, canonical, subset_name


class Comparing(Protocol):
    """What says how subsets are compared: a `ReIDModel`."""

    @property
    def comparison_rule(self) -> ComparisonRule:
        """All its comparisons."""

    def comparison(
        self, query: Iterable[Modality], gallery: Iterable[Modality]
    ) -> PairComparison | RefusedPair:
        """The comparison of two subsets, or why there is none and what to do about it."""


@dataclass(frozen=True)
class Pairing:
    """The modalities of both sides, the subsets that the model embeds, and how their vectors are compared.

    >>> from reid.modality import Modality
    >>> Pairing((Modality.TEXT,), (Modality.RGB,), (Modality.TEXT,), (Modality.RGB,)).name
    'text->rgb'
    """

    query: Subset
    gallery: Subset  # of a mixed gallery: all modalities of its kinds
    query_used: Subset  # all that any item is compared by
    gallery_used: Subset
    mixed: Kinds = ()  # the kinds of items of a mixed gallery
    how: MixedComparison | None = field(default=None, compare=False, repr=False)
    """None: by the cosine of whole vectors, as they are; for vectors that no model made."""
    anchor: Modality | None = None  # what the queries hang on, where their parts are of several samples
    samples: tuple[tuple[Modality, int], ...] = ()  # how many of a modality, or ALL, where not one

    @property
    def gathered(self) -> AskedQuery:
        """What each query consists of, as far as any item is compared with it."""
        kept = tuple((m, n) for m, n in self.samples if m in self.query_used)
        return AskedQuery(self.query_used, self.anchor, kept)

    @property
    def query_name(self) -> str:
        """The query's subset with anchor and numbers where it has such: "sketch", "sketch*2+text@text"."""
        return query_name(self.query, self.anchor if len(self.query) > 1 else None, dict(self.samples))

    @property
    def kinds(self) -> Kinds:
        """The subsets that gallery items are embedded in."""
        return self.mixed or (self.gallery_used,)

    @property
    def asked(self) -> tuple[Subset, ...]:
        """The subsets that a query is embedded in: several where kinds of items are compared differently."""
        return tuple(dict.fromkeys(g.query for g in self.how.groups)) if self.how else (self.query_used,)

    @property
    def gallery_name(self) -> str:
        """The gallery's subset, e.g. "rgb"; its kinds joined by "|" if it is mixed, e.g. "rgb|nir"."""
        return gallery_name(self.mixed) if self.mixed else subset_name(self.gallery)

    @property
    def name(self) -> str:
        """Query and gallery, e.g. "text->rgb"; one name if both are the same."""
        asked = self.query_name
        return asked if asked == self.gallery_name else f"{asked}->{self.gallery_name}"


def anchored(pairing: Pairing, protocol: ProtocolConfig, named: bool) -> list[Pairing]:
    """A pairing as its protocol asks it: once for each anchor, with the numbers of samples.

    Args:
        pairing: with the anchor and numbers that its name has, if any.
        protocol: whose `companions` say the rest.
        named: whether the configuration names this row; one that is not is left out where it lacks the
            protocol's anchor.

    Raises ConfigError for a named row that lacks the anchor, and for one that the protocol cannot gather;
    UnsupportedPairing where the model does not compare the anchor.

    >>> from reid.modality import Modality
    >>> nir, rgb = (Modality.NIR, Modality.SKETCH), (Modality.RGB,)
    >>> found = anchored(Pairing(nir, rgb, nir, rgb), ProtocolConfig(companions={"anchor": "each"}), True)
    >>> [one.name for one in found]
    ['nir+sketch@nir->rgb', 'nir+sketch@sketch->rgb']
    """
    config, query = protocol.companions, pairing.query
    numbers = (config.numbers if config else {}) | dict(pairing.samples)
    samples = tuple((m, numbers[m]) for m in query if numbers.get(m, 1) != 1)
    if config is None and pairing.anchor is None and not samples:
        return [pairing]
    if protocol.pair is not None:
        raise ConfigError(
            f"evaluate.subsets: {pairing.name}: {protocol.name} takes the text and sketch of a query from "
            "one photo (pair), which goes with no anchor and no number of samples. Choose another "
            "evaluate.protocol, or set evaluate.protocol.pair=null."
        )
    if len(query) == 1:
        return [replace(pairing, anchor=query[0] if samples else None, samples=samples)]
    wanted = pairing.anchor or (config.anchor if config else EACH)
    if wanted == EACH:
        return [replace(pairing, anchor=anchor, samples=samples) for anchor in pairing.query_used]
    anchor = next((m for m in query if m == wanted), None)
    if anchor is None:
        if not named:
            return []
        raise ConfigError(
            f"evaluate.subsets: {pairing.name} has no {wanted}, on which the queries of {protocol.name} hang "
            f"(evaluate.protocol.companions.anchor); name its anchor, e.g. "
            f"{query_name(query, query[0])}->{pairing.gallery_name}."
        )
    if anchor not in pairing.query_used:
        raise UnsupportedPairing(
            f"{query_name(query, anchor)}->{pairing.gallery_name}: this model compares only "
            f"{subset_name(pairing.query_used)} of the query, and not the anchor {anchor.value}."
        )
    return [replace(pairing, anchor=anchor, samples=samples)]


def make_pairing(
    query: Subset, kinds: Kinds, model: Comparing, calibrated: Calibrated = uncalibrated
) -> Pairing:
    """Pair a query subset with a gallery of one or several kinds.

    Args:
        query: modalities of a query, in canonical order.
        kinds: the subset of a plain gallery, or several subsets of a mixed one.
        model: what says how subsets are compared.
        calibrated: which pairs of subsets have likelihood ratios; those rank kinds of different scales.

    Raises UnsupportedPairing if the model cannot compare them, or cannot rank all kinds together.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.comparison.terms import FeatureBlock
    >>> from reid.modality import Modality
    >>> rgb, nir = (Modality.RGB,), (Modality.NIR,)
    >>> rule = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), rgb + nir, rgb + nir)
    >>> make_pairing(nir, (rgb, nir), rule).name
    'nir->rgb|nir'
    """
    used: list[PairComparison] = []
    for kind in kinds:
        found = model.comparison(query, kind)
        if isinstance(found, RefusedPair):
            raise UnsupportedPairing(found.message)
        used.append(found)
    embedded = tuple(dict.fromkeys(pair.gallery for pair in used))
    how = compare_mixed(model.comparison_rule, query, {(g,): 1 for g in embedded}, calibrated)
    if how.left_out:
        raise UnsupportedPairing(
            f"This model compares {subset_name(query)!r} with the kinds of {gallery_name(kinds)!r} by "
            "different modalities, so that similarities have no common order, and not all of these are "
            "calibrated (train.val.calibrate); ask of one kind at a time."
        )
    if len(kinds) == 1:
        return Pairing(query, kinds[0], used[0].query, used[0].gallery, how=how)
    asked, shown = (canonical(m for kind in side for m in kind) for side in (kinds, embedded))
    return Pairing(query, asked, how.query, shown, embedded, how)


def parse_pairing(
    text: str, gallery: Kinds, model: Comparing, calibrated: Calibrated = uncalibrated
) -> Pairing:
    """Parse the name of a pairing.

    Args:
        text: "sketch" (against `gallery`), "text->rgb", or "nir->rgb|nir" for a mixed gallery; the query may
            name an anchor and numbers of samples, "sketch*2+text@text".
        gallery: kinds of the gallery where the text names none.
        model, calibrated: as in `make_pairing`.

    Raises UsageError for a name that cannot be parsed, UnsupportedPairing if the model cannot compare them.

    >>> from reid.comparison.regimes import Regime
    >>> from reid.comparison.terms import FeatureBlock
    >>> both = (Modality.RGB, Modality.TEXT)
    >>> rule = ComparisonRule(Regime.ANY_TO_ANY, (FeatureBlock("shared", 0, 8),), both, both)
    >>> parse_pairing("text", ((Modality.RGB,),), rule).name
    'text->rgb'
    """
    asked, kinds = split_asked(text)
    pairing = make_pairing(asked.subset, kinds or gallery, model, calibrated)
    return replace(pairing, anchor=asked.anchor, samples=asked.samples)
