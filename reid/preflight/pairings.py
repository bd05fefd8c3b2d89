"""Which pairings are measured: as configured, as the protocol asks, or all that the model answers."""

from __future__ import annotations

from collections.abc import Sequence

from reid.comparison.mixed import Calibrated, uncalibrated
from reid.config import Config
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import ConfigError, DataError
from reid.evaluate.evaluator import check_reranking, select_items
from reid.evaluate.gathered_rows import check_companions
from reid.evaluate.protocols.choice import sides_of
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.pairing import Pairing, anchored, make_pairing, parse_pairing
from reid.evaluate.protocols.pairing_names import Kinds, parse_gallery
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.row_groups import resolved_groups
from reid.modality import CAMERA, PHOTO, Subset, all_subsets, canonical, subset_name
from reid.models.base import ReIDModel

ALONE = (PHOTO,)


def measured_pairings(
    config: Config,
    model: ReIDModel,
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    calibrated: Calibrated = uncalibrated,
) -> tuple[list[Pairing], list[Pairing]]:
    """The chosen pairings that have queries and gallery items, and those that have none.

    Configured pairings are all among the first, and are an error later if empty. Raises what
    `choose_pairings` does, and UsageError where re-ranking does not apply.
    """
    labels = label_table_of(labels)
    present = labels.modalities
    pairings = choose_pairings(config, model, present, calibrated)
    if config.evaluate.rerank:
        for pairing in pairings:
            check_reranking(pairing)
    check_companions(protocol, labels, pairings)
    resolved_groups(protocol.config.averages, pairings)
    if config.evaluate.subsets is not None:
        return pairings, []
    full: list[Pairing] = []
    empty: list[Pairing] = []
    for pairing in pairings:
        queries, gallery = select_items(protocol, labels, pairing)
        (full if len(queries.items) and len(gallery.items) else empty).append(pairing)
    return full or pairings, empty if full else []


def choose_pairings(
    config: Config, model: ReIDModel, present: Subset, calibrated: Calibrated = uncalibrated
) -> list[Pairing]:
    """The configured subsets, or what the protocol asks of the modalities that are there.

    By default, matched models answer each subset against itself, all others each subset without
    photos, and photos, against photos. `calibrated` tells which pairs of subsets have likelihood ratios.
    Raises DataError when the model has none of the modalities, ConfigError for a gallery that does not fit
    the protocol, UnsupportedPairing for what the model cannot answer.
    """
    settings, protocol = config.evaluate, sides_of(config.evaluate.protocol).config
    query_side = canonical(set(present) & model.query_modalities)
    gallery_side = canonical(set(present) & model.gallery_modalities)
    if not query_side or not gallery_side:
        have = subset_name(present)
        raise DataError(
            f"The {settings.split} split has {have}; the model takes {subset_name(model.query_modalities)}."
        )
    named = parse_gallery(settings.gallery) if settings.gallery else None
    kinds = named or _default_gallery(protocol, model, gallery_side)
    if settings.missing:
        found = _grid(settings.missing, query_side, named or (gallery_side,), model)
    elif settings.subsets is not None:
        found = [parse_pairing(text, kinds, model, calibrated) for text in settings.subsets]
    elif protocol.gallery.mixed or len(kinds) > 1:
        found = [make_pairing((m,), kinds, model, calibrated) for m in _cameras(query_side)]
    else:
        asked = _asked(protocol, model, query_side, gallery_side, named)
        found = [make_pairing(query, (gallery,), model) for query, gallery in asked]
    plain = protocol.gallery.mixed and not all(p.mixed for p in found)
    if plain and not settings.missing and len(_cameras(gallery_side)) > 1:
        raise ConfigError(
            f"evaluate.gallery: protocol {protocol.name} has a mixed gallery; write its kinds with |, e.g. "
            "'rgb|nir' or 'nir->rgb|nir', or leave it to the protocol (null)."
        )
    rows = [row for pairing in found for row in anchored(pairing, protocol, settings.subsets is not None)]
    if not rows:
        assert protocol.companions is not None  # nothing else leaves a pairing out
        names = ", ".join(pairing.name for pairing in found)
        raise ConfigError(
            f"evaluate.protocol.companions.anchor: {protocol.companions.anchor} is in none of the subsets "
            f"that are asked: {names}. Choose another anchor, or each."
        )
    return list(dict.fromkeys(rows))


def _default_gallery(protocol: ProtocolConfig, model: ReIDModel, side: Subset) -> Kinds:
    if protocol.gallery.mixed:
        return tuple((m,) for m in _cameras(side))
    return (ALONE,) if model.comparison_rule.crosses and PHOTO in side else (side,)


def _asked(
    protocol: ProtocolConfig, model: ReIDModel, query_side: Subset, gallery_side: Subset, named: Kinds | None
) -> list[tuple[Subset, Subset]]:
    """Query subsets and their gallery, when the configuration names no query subset."""
    if protocol.asked in {"both", "same"}:
        alike = protocol.asked == "same"
        galleries = named or tuple((m,) for m in _cameras(gallery_side))
        found: list[tuple[Subset, Subset]]
        found = [((m,), g) for g in galleries for m in _cameras(query_side) if (g == (m,)) == alike]
        if not found:
            raise DataError(
                f"Protocol {protocol.name} compares camera modalities; there are {subset_name(query_side)} "
                f"to ask with and {subset_name(gallery_side)} to find."
            )
        return found
    if protocol.asked == "model" and (not model.comparison_rule.crosses or PHOTO not in gallery_side):
        return [(s, s) for s in all_subsets(query_side) if set(s) <= set(gallery_side)]
    gallery = named[0] if named else ALONE
    others = [m for m in query_side if m not in gallery]
    asked = all_subsets(others) if others else []
    if protocol.asked == "model" and (PHOTO in query_side or not others):
        asked.insert(0, ALONE)
    if not asked:
        raise DataError(
            f"Protocol {protocol.name} asks for {PHOTO} with other modalities, and there is only {PHOTO}."
        )
    return [(subset, gallery) for subset in asked]


def _grid(side: str, query_side: Subset, kinds: Kinds, model: ReIDModel) -> list[Pairing]:
    """Every subset of one side against the full other side, or of both sides alike."""
    if len(kinds) > 1:
        raise ConfigError("evaluate.missing: a mixed gallery has no modalities that could be missing.")
    full = kinds[0]
    if side == "query":
        asked = [(subset, full) for subset in all_subsets(query_side)]
    elif side == "gallery":
        asked = [(query_side, subset) for subset in all_subsets(full)]
    else:
        asked = [(subset, subset) for subset in all_subsets(set(query_side) & set(full))]
    return [make_pairing(query, (gallery,), model) for query, gallery in asked]


def _cameras(side: Subset) -> Subset:
    return tuple(m for m in side if m in CAMERA)
