"""Training of the study's network: identities are told apart by any picture, and by several together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.data.synthetic.version2 import PICTURES
from reid.nn.bnneck import BNNeck
from reid.nn.losses.sdm import sdm
from reid.nn.losses.triplet import batch_hard_triplet
from reid.studies.crossing.captures import RenderedCaptures
from reid.studies.crossing.encoder import DIM, CrossingEncoder

_SHIFT = 3  # pixels, each way
_SCALE = 20.0  # inverse temperature of the matching


@dataclass(frozen=True)
class LearningSettings:
    """How long and with what batches the network learns."""

    steps: int = 900
    identities: int = 8  # in a batch
    instances: int = 4  # captures of each
    pictures: int = 3  # of each capture in a batch: RGB and others, drawn anew for each batch
    rate: float = 1.5e-3
    decay: float = 0.05
    warmup: int = 100  # steps
    matching: float = 0.5  # weight of similarity distribution matching between the modalities of a batch


def learn(captures: RenderedCaptures, settings: LearningSettings, seed: int) -> CrossingEncoder:
    """A network trained on the captures; the same one for the same seed and number of threads."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    height, width = captures.pictures["rgb"].shape[2:]
    encoder = CrossingEncoder(len(PICTURES), height, width).train()
    head = BNNeck(DIM, int(captures.pid.max()) + 1)
    weights = [p for p in nn.ModuleList([encoder, head]).parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.rate, weight_decay=settings.decay)
    rows = [np.flatnonzero(captures.pid.numpy() == pid) for pid in range(int(captures.pid.max()) + 1)]
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.rate * _share(step, settings)
        pids = rng.choice(len(rows), settings.identities, replace=False)
        drawn = np.concatenate([rng.choice(rows[pid], settings.instances, replace=False) for pid in pids])
        others = rng.choice(np.arange(1, len(PICTURES)), settings.pictures - 1, replace=False)
        chosen = [0, *map(int, others)]
        loss = _loss(encoder, head, captures, torch.from_numpy(drawn), chosen, rng, settings.matching)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return encoder.eval()


def _share(step: int, settings: LearningSettings) -> float:
    """Of the peak learning rate: linear warm-up, then half a cosine to 0."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / settings.steps))


def _loss(
    encoder: CrossingEncoder,
    head: BNNeck,
    captures: RenderedCaptures,
    rows: Tensor,
    modalities: list[int],
    rng: np.random.Generator,
    matching: float,
) -> Tensor:
    """Classification and triplets of mean vectors and of each picture's, and matching between modalities."""
    flip = bool(rng.random() < 0.5)
    stacked = torch.cat([augmented(captures.pictures[PICTURES[m]][rows], flip, rng) for m in modalities])
    numbers = torch.tensor(modalities).repeat_interleave(len(rows))
    each = encoder(stacked, numbers)
    fused = each.view(len(modalities), len(rows), -1).mean(0)
    labels = captures.pid[rows]
    many = labels.repeat(len(modalities))
    told = head.loss(fused, labels, 0.1) + head.loss(each, many, 0.1)
    told = told + batch_hard_triplet(fused, labels) + batch_hard_triplet(each, many)
    pairs = combinations(each.split(len(rows)), 2)
    return told + matching * torch.stack([sdm(a, b, labels, _SCALE) for a, b in pairs]).mean()


def augmented(pictures: Tensor, flip: bool, rng: np.random.Generator) -> Tensor:
    """Pictures (B, 3, H, W) uint8 shifted, flipped, with other brightness and contrast: float32, 0 to 255."""
    count, _, height, width = pictures.shape
    padded = F.pad(pictures, (_SHIFT,) * 4)
    top, left = rng.integers(0, 2 * _SHIFT + 1, (2, count))
    moved = [
        padded[i, :, t : t + height, k : k + width] for i, (t, k) in enumerate(zip(top, left, strict=True))
    ]
    batch = torch.stack(moved).float()
    if flip:
        batch = batch.flip(3)
    drawn = torch.from_numpy(rng.uniform(-0.2, 0.2, (2, count, 1, 1, 1)).astype(np.float32))
    return ((batch - 128.0) * (1.0 + drawn[0]) + 128.0 * (1.0 + drawn[1])).clamp_(0.0, 255.0)
