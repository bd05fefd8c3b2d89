"""What is measured of one trained network: every crossing to photos, each modality alone, all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.data.synthetic.version2 import PICTURES
from reid.evaluate.metrics.colour_histogram import colour_histograms
from reid.evaluate.metrics.retrieval import rank_metrics
from reid.studies.crossing.captures import RenderedCaptures
from reid.studies.crossing.encoder import CrossingEncoder, encode

TOGETHER = "all together"


@dataclass(frozen=True)
class CrossingScores:
    """mAP, queries of every camera against the items of all others; names are `query->gallery`."""

    model: Mapping[str, float]
    histogram: Mapping[str, float]
    chance: float


def measure(encoder: CrossingEncoder, captures: RenderedCaptures) -> CrossingScores:
    """The network's and the colour histogram's mAP on held-out captures."""
    vectors = {name: encode(encoder, captures.pictures[name], i) for i, name in enumerate(PICTURES)}
    joined = F.normalize(torch.stack(list(vectors.values())).mean(0), dim=1)
    found, chance = {}, 0.0
    for query, gallery in [(name, "rgb") for name in PICTURES] + [(name, name) for name in PICTURES[1:]]:
        found[f"{query}->{gallery}"], chance = mean_precision(vectors[query], vectors[gallery], captures)
    found[TOGETHER], _ = mean_precision(joined, joined, captures)
    colours = {
        name: colour_histograms([p.permute(1, 2, 0).numpy() for p in captures.pictures[name]])
        for name in PICTURES
    }
    ranked = {f"{n}->rgb": mean_precision(colours[n], colours["rgb"], captures)[0] for n in PICTURES}
    return CrossingScores(found, ranked, chance)


def mean_precision(query: Tensor, gallery: Tensor, captures: RenderedCaptures) -> tuple[float, float]:
    """(mAP, its expectation by chance) of unit vectors (N, D); an identity's own camera does not count."""
    same_camera = captures.camid[:, None] == captures.camid[None, :]
    exclude = same_camera & (captures.pid[:, None] == captures.pid[None, :])
    metrics = rank_metrics(query @ gallery.T, captures.pid, captures.pid, exclude)
    return metrics.mAP, metrics.chance_mAP
