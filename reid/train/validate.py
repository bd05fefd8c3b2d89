"""Validation during training: retrieval on identities held out of training, never on test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.collate import Collator
from reid.data.batches.sample_rows import sample_part
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import Identity, ShardSet
from reid.errors import TrainingError
from reid.evaluate.evaluator import EmbeddingTask, embedding_tasks, score_pairing
from reid.evaluate.protocols.choice import ProtocolChoice
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import Modality, Subset, canonical
from reid.models.base import Regime, ReIDModel
from reid.runs.embedding import Vectors, embed_rows
from reid.train.checks import check_validation, choose_validation, without_roles


class Validator:
    """Measures a model on the validation samples; every row is on both sides.

    `protocol` is a protocol, or the value of `train.val.protocol`: for `auto` the held-out labels decide.
    """

    def __init__(
        self,
        shards: ShardSet,
        identities: Sequence[Identity],
        collator: Collator,
        protocol: Protocol | str,
        gallery: Subset = (Modality.RGB,),
    ) -> None:
        wanted = set(identities)
        split = "val" if shards.identities("val") else "train"
        groups = [g for g in shards.groups(split) if any((d, p) in wanted for d, p, _ in g.identities)]
        samples = [s for g in groups for s in shards.read_group(g) if s.identity in wanted]
        if not samples:
            raise TrainingError("train.val.fraction: no validation sample; raise it or set it to 0.")
        self.samples = {s.labels.sample_id: s for s in samples}
        self.labels = [without_roles(SampleLabels.of(s)) for s in samples]
        chosen = (
            choose_validation(protocol, self.labels)
            if isinstance(protocol, str)
            else ProtocolChoice(protocol)
        )
        self.protocol, self.note = chosen.protocol, chosen.note
        self.identities = len({s.identity for s in samples})
        self.collator = collator
        self.gallery = gallery

    def __call__(self, model: ReIDModel, device: torch.device) -> dict[str, float]:
        """{"val/mAP": mean over pairings, "val/R1": ..., "val/mAP/<pairing>": ..., "val/identities": count}.

        Pairings without any match are left out; raises TrainingError if no pairing has one.
        """
        pairings = self._pairings(model)
        work = embedding_tasks(self.protocol, self.labels, pairings)
        features: dict[str, Vectors] = {}
        for side in ("query", "gallery"):
            part = [w for w in work if w.side == side]
            rows = [row_of(w, self.samples) for w in part]
            vectors = embed_rows(model, self.collator, rows, side, 64, device)
            features |= {w.key: v for w, v in zip(part, vectors, strict=True)}
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
    return pairings


def validation_pairings(
    model: ReIDModel, present: set[Modality], gallery: Subset = (Modality.RGB,)
) -> list[Pairing]:
    """The pairings to validate.

    Matched models: all modalities against all. Any-to-any models: each single modality, and all that the
    gallery does not have together, against the gallery subset.
    """
    queries = [m for m in Modality if m in present and m in model.query_modalities]
    found = canonical(set(gallery) & present & model.gallery_modalities)
    if model.regime is Regime.MATCHED or not found:
        used = model.pairing(queries, [m for m in Modality if m in present & model.gallery_modalities])
        return [Pairing(*used, *used)]
    others = tuple(m for m in queries if m not in found)
    subsets = [*((m,) for m in queries), *([others] if len(others) > 1 else [])]
    return [Pairing(q, found, *model.pairing(q, found)) for q in subsets]


def row_of(work: EmbeddingTask, samples: dict[str, Sample]) -> BatchRow:
    """A batch row with the contents of a vector's parts, and the auxiliary inputs of the first part."""
    parts = {m: (samples[p.sample_id], p.caption_index or 0) for m, p in work.parts.items()}
    row = BatchRow({m: sample_part(sample, m, caption) for m, (sample, caption) in parts.items()})
    return attach_auxiliary(row, parts[canonical(parts)[0]][0])
