"""Calibration at the end of training: likelihood ratios from the validation identities, never from test.

The validation identities may also have selected the weights (best val/mAP), which makes the calibration a
little too confident; `reid.evaluate.calibration.checking` measures by how much on another split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from reid.comparison.calibration import Calibration, PairCalibration
from reid.comparison.terms import PairComparison
from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.calibration.fitting import fit
from reid.evaluate.calibration.pair_scores import PairScores, pairing_scores
from reid.evaluate.evaluator import embedding_tasks
from reid.evaluate.features.table import FeatureTable, Keys, Vectors, key_codes
from reid.evaluate.features.work import EmbeddingTask
from reid.evaluate.protocols.exclusion_rules import RULES
from reid.evaluate.protocols.items import SampleLabels, Side
from reid.evaluate.protocols.pairing import Pairing, make_pairing
from reid.modality import Modality, Subset, all_subsets, canonical, subset_name
from reid.models.base import ReIDModel
from reid.train.validation.validate import Validator

ROWS = 2000
"""Most validation samples that are embedded for each subset; whole identities are left out beyond it."""
AHEAD = 8
"""Subsets of a side that are embedded together, and held in memory."""


def calibration_of(
    config: Config,
    shards: ShardSet,
    validator: Validator | None,
    model: ReIDModel,
    device: torch.device,
    rows: int = ROWS,
) -> Calibration | str:
    """Calibrate a trained model on its validation identities; a text says why it cannot be calibrated."""
    settings = config.train.val
    if not settings.calibrate:
        return "train.val.calibrate is false"
    if validator is None:
        return "no validation identities: train.val.fraction is 0 and the data have no val split"
    own_split = bool(shards.identities("val"))
    labels = _within(validator.labels, rows, config.seed)
    present = {m for row in labels for m in row.modalities}
    pairings = calibrated_pairings(model, present, validator.gallery, settings.calibrate_pairings)
    features = _Features(validator, labels, model, device, pairings)
    found: list[PairCalibration] = []
    lacking: dict[str, str] = {}
    for place, pairing in enumerate(pairings):
        names = subset_name(pairing.query_used), subset_name(pairing.gallery_used)
        try:
            scores = features.scores(pairing, seed=config.seed)
            found.append(fit(scores, *names, method=settings.calibrator, seed=config.seed))
        except DataError as error:
            lacking[pairing.name] = str(error)
        features.forget(pairings[place + 1 :])
    if not found:
        return f"too few validation pairs under {validator.protocol.name}: {lacking}"
    return Calibration(
        data_fingerprint=shards.fingerprint,
        protocol=validator.protocol.name,
        exclusions=tuple(dict.fromkeys((*validator.protocol.exclusions, *_SOURCES))),
        split="val" if own_split else "train",
        fraction=None if own_split else settings.fraction,
        identities=len({(row.dataset, row.pid) for row in labels}),
        pairings=tuple(found),
        lacking=lacking,
    )


def calibrated_pairings(
    model: ReIDModel, present: set[Modality], gallery: Subset, most: int | None = None
) -> list[Pairing]:
    """The pairings to calibrate.

    Models that compare common modalities: every subset against itself, and against all modalities if the
    model completes missing ones. Others: every subset against `gallery`. Single modalities come first, then
    all together, then the rest by size; the first `most` are kept.
    """
    known = canonical(present & model.query_modalities)
    whole = canonical(present & model.gallery_modalities)
    target = canonical(set(gallery) & set(whole)) or whole
    pairings: dict[tuple[Subset, Subset], Pairing] = {}
    for subset in sorted(all_subsets(known), key=lambda s: (len(s) > 1) + (1 < len(s) < len(known))):
        matched = [subset, *([whole] if model.completes else [])]
        for other in [target] if model.comparison_rule.crosses else matched:
            found = model.comparison(subset, other)
            if isinstance(found, PairComparison):
                used = found.query, found.gallery
                pairings.setdefault(used, make_pairing(used[0], (used[1],), model))
    return list(pairings.values())[:most]


_SOURCES = tuple(RULES[name].words for name in ("same_sample", "leakage"))
"""Never compared, whatever the protocol: what a capture shows of itself tells nothing of others."""


class _Features:
    """Vectors of the validation samples by side and subset, kept while a later pairing needs them."""

    def __init__(
        self,
        validator: Validator,
        labels: Sequence[SampleLabels],
        model: ReIDModel,
        device: torch.device,
        pairings: Sequence[Pairing],
    ) -> None:
        self._of, self._labels, self._model, self._device = validator, labels, model, device
        self._pairings = pairings
        self._kept: dict[tuple[Side, Subset], tuple[Keys, Vectors]] = {}

    def scores(self, pairing: Pairing, seed: int) -> PairScores:
        """Similarities under the protocol's exclusions, without sources.

        Raises DataError for an empty side.
        """
        features = FeatureTable([self._vectors(pairing, "query"), self._vectors(pairing, "gallery")])
        return pairing_scores(self._of.protocol, self._labels, pairing, features, seed)

    def forget(self, needed: Sequence[Pairing]) -> None:
        """Drop the vectors that none of these pairings uses."""
        sides = {_place(pairing, side) for pairing in needed for side in ("query", "gallery")}
        self._kept = {place: vectors for place, vectors in self._kept.items() if place in sides}

    def _vectors(self, pairing: Pairing, side: Side) -> tuple[Keys, Vectors]:
        place = _place(pairing, side)
        if place not in self._kept:
            self._embed(pairing, side)
        return self._kept[place]

    def _embed(self, pairing: Pairing, side: Side) -> None:
        """Embed this pairing's side and those of the next few pairings, which share their encoder passes."""
        ahead = self._pairings[self._pairings.index(pairing) :]
        places: dict[tuple[Side, Subset], list[EmbeddingTask]] = {}
        for other in ahead:
            place = _place(other, side)
            if place in self._kept or place in places or len(places) == AHEAD:
                continue
            tasks = embedding_tasks(self._of.protocol, self._labels, [other])
            places[place] = [w for w in tasks if w.side == side]
        work = [w for items in places.values() for w in items]
        of = self._of
        found = of.held_out.embed(self._model, of.collator, work, self._device, together=False)
        for place, items in places.items():
            keys = key_codes(w.key for w in items)
            self._kept[place] = keys, found.take(found.find(keys))


def _place(pairing: Pairing, side: Side) -> tuple[Side, Subset]:
    return side, pairing.query_used if side == "query" else pairing.gallery_used


def _within(labels: Sequence[SampleLabels], rows: int, seed: int) -> list[SampleLabels]:
    """At most `rows` samples: a seeded random choice of whole identities, in their order."""
    if len(labels) <= rows:
        return list(labels)
    sizes: dict[tuple[str, int], int] = {}
    for row in labels:
        sizes[row.dataset, row.pid] = sizes.get((row.dataset, row.pid), 0) + 1
    identities = sorted(sizes)
    order = np.random.default_rng(seed).permutation(len(identities))
    total = np.cumsum([sizes[identities[i]] for i in order])
    kept = {identities[i] for i, held in zip(order, total, strict=True) if held <= rows}
    return [row for row in labels if (row.dataset, row.pid) in kept]
