"""Validation during training: retrieval on identities held out of training, never on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from reid.data.batches import sample_part
from reid.data.collate import Collator, Row
from reid.data.schema import Sample
from reid.data.shards import Identity, ShardSet
from reid.errors import TrainingError
from reid.evaluate.evaluator import Pairing, Work, score, worklist
from reid.evaluate.items import SampleLabels
from reid.evaluate.protocols import get_protocol
from reid.modality import Modality
from reid.models.base import Regime, ReIDModel
from reid.runs import Vectors, embed_rows


class Validator:
    """Holds the validation samples and measures a model on them."""

    def __init__(
        self, shards: ShardSet, identities: Sequence[Identity], collator: Collator, protocol: str
    ) -> None:
        wanted = set(identities)
        split = "val" if shards.identities("val") else "train"
        groups = [g for g in shards.groups(split) if any((d, p) in wanted for d, p, _ in g.identities)]
        samples = [s for g in groups for s in shards.read_group(g) if s.identity in wanted]
        if not samples:
            raise TrainingError("train.val.fraction: no validation sample; raise it or set it to 0.")
        self.samples = {s.labels.sample_id: s for s in samples}
        self.labels = [_free(SampleLabels.of(s)) for s in samples]
        self.protocol = get_protocol(protocol)
        self.collator = collator

    def __call__(self, model: ReIDModel, device: torch.device) -> dict[str, float]:
        """{"val/mAP": mean over pairings, "val/R1": ..., "val/mAP/<pairing>": ...}."""
        present = {m for row in self.labels for m in row.modalities}
        pairings = validation_pairings(model, present)
        work = worklist(self.protocol, self.labels, pairings)
        features: dict[str, Vectors] = {}
        for side in ("query", "gallery"):
            part = [w for w in work if w.side == side]
            rows = [row_of(w, self.samples) for w in part]
            vectors = embed_rows(model, self.collator, rows, side, 64, device)
            features |= {w.key: v for w, v in zip(part, vectors, strict=True)}
        results: dict[str, float] = {}
        maps, firsts = [], []
        for pairing in pairings:
            metrics = score(self.protocol, self.labels, pairing, features).metrics
            results[f"val/mAP/{pairing.name}"] = metrics.mAP
            maps.append(metrics.mAP)
            firsts.append(metrics.cmc_at(1))
        results["val/mAP"] = sum(maps) / len(maps)
        results["val/R1"] = sum(firsts) / len(firsts)
        return results


def validation_pairings(model: ReIDModel, present: set[Modality]) -> list[Pairing]:
    """Matched models: everything against everything. Any-to-any: RGB to itself, each other modality to RGB,
    and all the others together to RGB.
    """
    queries = [m for m in Modality if m in present and m in model.query_modalities]
    gallery = [m for m in Modality if m in present and m in model.gallery_modalities]
    if model.regime is Regime.MATCHED or Modality.RGB not in gallery:
        used = model.pairing(queries, gallery)
        return [Pairing(*used, *used)]
    rgb = (Modality.RGB,)
    others = tuple(m for m in queries if m is not Modality.RGB)
    asked = [rgb, *((m,) for m in others), *([others] if len(others) > 1 else [])]
    return [Pairing(q, rgb, *model.pairing(q, rgb)) for q in asked if set(q) <= set(queries)]


def row_of(work: Work, samples: dict[str, Sample]) -> Row:
    """The contents of a vector's parts."""
    return Row({m: sample_part(samples[p.sample_id], m, p.caption_index or 0) for m, p in work.parts.items()})


def _free(row: SampleLabels) -> SampleLabels:
    """Training rows have no query or gallery role."""
    return replace(row, roles=None)
