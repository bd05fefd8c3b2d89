"""Validation during training: retrieval on identities held out of training, never on test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from reid.data.batches.collate import Collator
from reid.data.shards.shard_set import Identity, ShardSet
from reid.errors import TrainingError
from reid.evaluate.evaluator import embedding_tasks, score_pairing
from reid.evaluate.features.table import FeatureTable
from reid.evaluate.protocols.choice import ProtocolChoice
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.pairing import Pairing, anchored, make_pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import PHOTO, Modality, Subset, canonical
from reid.models.base import ReIDModel
from reid.nn.distributed import of_rank_zero
from reid.train.validation.checks import check_validation, choose_validation
from reid.train.validation.held_out import HeldOut


class Validator:
    """Measures a model on the validation samples; every row is on both sides. All ranks make and call one.

    `protocol` is a protocol, or the value of `train.val.protocol`: for `auto` the held-out labels decide.
    """

    def __init__(
        self,
        shards: ShardSet,
        identities: Sequence[Identity],
        collator: Collator,
        protocol: Protocol | str,
        gallery: Subset = (PHOTO,),
    ) -> None:
        self.held_out = HeldOut(shards, identities)
        self.labels, self.identities = self.held_out.labels, self.held_out.identities
        if not self.labels:
            raise TrainingError("train.val.fraction: no validation sample; raise it or set it to 0.")
        chosen = (
            choose_validation(protocol, self.labels)
            if isinstance(protocol, str)
            else ProtocolChoice(protocol)
        )
        self.protocol, self.note = chosen.protocol, chosen.note
        self.collator = collator
        self.gallery = gallery

    def __call__(self, model: ReIDModel, device: torch.device) -> dict[str, float]:
        """{"val/mAP": mean over pairings, "val/R1": ..., "val/mAP/<pairing>": ..., "val/identities": count}.

        Every rank embeds its share, rank 0 ranks, and all get its numbers. Pairings without any match are
        left out; raises TrainingError, on every rank, if no pairing has one.
        """
        pairings = self._pairings(model)
        work = list(embedding_tasks(self.protocol, self.labels, pairings))
        features = self.held_out.embed(model, self.collator, work, device)
        return of_rank_zero(lambda: self._measured(pairings, features), device)

    def _measured(self, pairings: Sequence[Pairing], features: FeatureTable) -> dict[str, float]:
        results: dict[str, float] = {}
        maps, firsts = [], []
        for pairing in pairings:
            metrics = score_pairing(self.protocol, self.labels, pairing, features).metrics
            if metrics.queries:
                results[f"val/mAP/{pairing.name}"] = metrics.mAP
            maps.append(metrics.mAP)
            firsts.append(metrics.cmc_at(1))
        counted = [i for i, value in enumerate(maps) if not math.isnan(value)]
        if not counted:
            raise TrainingError(
                f"train.val.fraction: no validation query has a match under {self.protocol.name}. Raise it, "
                "choose another train.val.protocol, or set it to 0 to train without validation."
            )
        results["val/identities"] = self.identities
        results["val/mAP"] = sum(maps[i] for i in counted) / len(counted)
        results["val/R1"] = sum(firsts[i] for i in counted) / len(counted)
        return results

    def check(self, model: ReIDModel) -> None:
        """Before the first step: raise ConfigError when no query that the model answers has a match."""
        check_validation(ProtocolChoice(self.protocol), self.labels, self._pairings(model))

    def _pairings(self, model: ReIDModel) -> list[Pairing]:
        return measured_pairings(self.protocol, model, self.labels, self.gallery)


def measured_pairings(
    protocol: Protocol, model: ReIDModel, labels: Sequence[SampleLabels], gallery: Subset
) -> list[Pairing]:
    """The pairings that a validation measures: those of the model, as far as the protocol asks for them."""
    pairings = validation_pairings(model, {m for row in labels for m in row.modalities}, gallery)
    if protocol.config.asked == "to_rgb":  # a photo would find itself: such protocols keep it
        pairings = [p for p in pairings if p.query_used != p.gallery_used] or pairings
    return [row for p in pairings for row in anchored(p, protocol.config, named=False)] or pairings


def validation_pairings(
    model: ReIDModel, present: set[Modality], gallery: Subset = (PHOTO,)
) -> list[Pairing]:
    """The pairings to validate.

    Models that compare common modalities: all against all. Others: each single modality, and all that the
    gallery does not have together, against the gallery subset.
    """
    queries = [m for m in Modality if m in present and m in model.query_modalities]
    found = canonical(set(gallery) & present & model.gallery_modalities)
    if not model.comparison_rule.crosses or not found:
        used = model.pairing(queries, [m for m in Modality if m in present & model.gallery_modalities])
        return [make_pairing(used[0], (used[1],), model)]
    others = tuple(m for m in queries if m not in found)
    subsets = [*((m,) for m in queries), *([others] if len(others) > 1 else [])]
    return [make_pairing(q, (found,), model) for q in subsets]
