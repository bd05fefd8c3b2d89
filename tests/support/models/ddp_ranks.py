"""What the ranks of test_distributed.py run. A file of its own, so that a spawned process can import it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from reid.config import Config, load
from reid.data.batches.batch import UNKNOWN, Batch
from reid.modality import ORDER, PUBLISHED, Modality, parse_subset
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.classifier.placement import WHOLE, ClassifierPlacement, classifiers_placed
from reid.nn.distributed import gather_rows, local_statistics
from reid.nn.losses.triplet import batch_hard_triplet
from reid.train.classifiers.placement import clip_gradients
from reid.train.epoch import total_loss
from reid.train.setup import distribute

WORLD = 2
HEIGHT, WIDTH = 32, 16
CAMERAS, EVERYTHING = "rgb+nir+tir", "rgb+nir+tir+sketch+text"
QUERIES = "rgb+nir+sketch+text"
CLASSES = 5

STILL = {"dropout": 0.0, "router": {"score": "cosine", "noise": 0.0, "dim": 8}}  # nothing random
STILL_FFM, STILL_FRM = {**STILL, "hidden": 24}, {**STILL, "hidden": 12}
SMALL_MOE = {"hidden": 8, "init": "conv", "scale": 1.0}
SMALL_SIM = {"k1": 5, "heads": 4, "hidden": 24}
STILL_STMI = {"heads": 2, "caption_dropout": 0.0, "sfm": {"flip": 0.0}}
BARE = {"stmi, captions and masks on one rank only": (1,), "stmi, no caption at all": (0, 1)}
"""Ranks whose rows have no caption and no mask."""
SMALL_RESNET = {"backbone": "resnet18", "base_width": 4}
AMPLIFIED = {"mixer", "mixer, a modality on one rank only", "mixer, an untouched branch", "mixer, local"}
"""Run in float64: batch norms over a few values make much of a rounding difference in float32."""
SPLIT = (
    "mean, ragged",
    "mfrnet, a modality on one rank only",
    "signal, heads and masks",
    "stmi, captions and masks on one rank only",
    "stmi, no caption at all",
    "flexireid, identities",
    "mixer",
    "mixer, an untouched branch",
)
"""Cases that are run with classes split over the ranks, too: 3 of 5 on the first."""

# case -> (model fields, modalities, global statistics, per rank: (pid, subset) of each row)
CASES: dict[str, tuple[dict[str, Any], str, bool, list[list[tuple[int, str]]]]] = {
    "concat": (
        {"fusion": "concat"},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS)]],
    ),
    "mean, ragged": (
        {"fusion": "mean", "modality_embedding": True},
        EVERYTHING,
        True,
        [
            [(0, "rgb+nir+text"), (0, "rgb+sketch"), (1, "rgb+text"), (1, "nir"), (4, "text")],
            [(2, "rgb+nir"), (2, "tir+sketch+text"), (3, EVERYTHING)],
        ],
    ),
    "mean, modalities on one rank only": (
        {"fusion": "mean", "modality_embedding": True},
        EVERYTHING,
        True,
        [[(0, "rgb+text"), (0, "rgb+text"), (1, "rgb")], [(2, "rgb+tir"), (2, "nir+tir"), (3, "rgb+nir")]],
    ),
    "mean, a rank without pictures": (
        {"fusion": "mean", "modality_embedding": True},
        "rgb+nir+text",
        True,
        [[(0, "text"), (0, "text"), (1, "text")], [(2, "rgb+nir"), (2, "rgb"), (1, "nir+text")]],
    ),
    "mean, centred and gated": (
        {"fusion": "mean", "centering": True, "gate": True},
        "rgb+nir+text",
        True,
        [[(0, "text"), (0, "rgb+text"), (1, "text")], [(2, "rgb+nir"), (2, "rgb"), (1, "nir+text")]],
    ),
    "mfrnet": (
        {"name": "mfrnet", "ffm": STILL_FFM, "frm": STILL_FRM},
        CAMERAS,
        True,
        [
            [(0, CAMERAS), (0, "rgb+nir"), (1, CAMERAS), (1, "tir")],
            [(2, CAMERAS), (2, "rgb")],
        ],
    ),
    "mfrnet, a modality on one rank only": (
        {"name": "mfrnet", "heads": "each", "global_local": True, "ffm": STILL_FFM, "frm": STILL_FRM},
        CAMERAS,
        True,
        [[(0, "rgb"), (0, "rgb+nir"), (1, "nir")], [(2, CAMERAS), (2, "tir"), (1, "rgb+tir")]],
    ),
    "signal": (
        {"name": "signal", "sim": SMALL_SIM, "lam": {"stride": 2}},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS)]],
    ),
    "signal, heads and masks": (
        {"name": "signal", "heads": "each", "sim": {**SMALL_SIM, "drop": "mask"}, "lam": {"stride": 2}},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS), (1, CAMERAS)]],
    ),
    "mixer": (
        {"name": "mixer", **SMALL_RESNET},
        "rgb+nir",
        True,
        [[(0, "rgb"), (0, "nir"), (1, "nir"), (1, "rgb")], [(2, "rgb"), (2, "nir"), (1, "rgb+nir")]],
    ),
    "mixer, a modality on one rank only": (
        {
            "name": "mixer",
            **SMALL_RESNET,
            "backbone": "resnet50",
            "pooling": "gem",
            "dual_norm": True,
            "two_stream_stem": True,
            "orthogonality": {"form": "correlation"},
        },
        "rgb+nir",
        True,
        [[(0, "rgb"), (0, "rgb"), (1, "rgb")], [(0, "nir"), (1, "nir"), (2, "rgb+nir"), (2, "nir")]],
    ),
    "mixer, an untouched branch": (
        {
            "name": "mixer",
            **SMALL_RESNET,
            "branch_layout": "e_r_base",
            "orthogonality": {"form": "projection"},
            "reversal": {"ramp_steps": 2},
            "metric": {"kind": "centre"},
        },
        "rgb+nir",
        True,
        [[(0, "rgb"), (0, "nir"), (1, "nir"), (1, "rgb")], [(2, "rgb"), (2, "nir")]],
    ),
    "mixer, tower": (
        {"name": "mixer", "backbone": "tower"},
        "rgb+nir",
        True,
        [[(0, "rgb"), (0, "rgb"), (1, "rgb")], [(0, "nir"), (1, "nir"), (2, "rgb+nir")]],
    ),
    "mixer, local": (
        {"name": "mixer", **SMALL_RESNET},
        "rgb+nir",
        False,
        [
            [(0, "rgb"), (0, "nir"), (1, "nir"), (1, "rgb")],
            [(2, "rgb"), (2, "nir"), (3, "nir"), (3, "rgb")],
        ],
    ),
    "stmi": (
        {"name": "stmi", **STILL_STMI},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS)]],
    ),
    "stmi, captions and masks on one rank only": (
        {"name": "stmi", **STILL_STMI, "chi": {"tau_mode": "quantile", "layers": 2}, "share_backbone": False},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS), (1, CAMERAS)]],
    ),
    "stmi, no caption at all": (
        {"name": "stmi", **STILL_STMI},
        CAMERAS,
        True,
        [[(0, CAMERAS), (0, CAMERAS), (1, CAMERAS)], [(2, CAMERAS), (2, CAMERAS), (1, CAMERAS)]],
    ),
    "flexireid": (
        {"name": "flexireid", "freeze_backbone": False, "moe": SMALL_MOE, "id_weight": 0.5},
        QUERIES,
        True,
        [[(0, QUERIES), (1, QUERIES), (2, QUERIES), (3, "rgb+sketch")], [(4, QUERIES), (2, QUERIES)]],
    ),
    "flexireid, identities": (
        {
            "name": "flexireid",
            "moe": SMALL_MOE,
            "id_weight": 0.5,
            "sdm_scale": 5,
        },  # 50 makes much of rounding
        QUERIES,
        True,
        [[(0, QUERIES), (1, QUERIES), (2, QUERIES), (3, "rgb+sketch")], [(4, QUERIES), (2, QUERIES)]],
    ),
    "flexireid, modalities on one rank only": (
        {"name": "flexireid", "moe": SMALL_MOE, "balance_weight": 0.1, "ada_reduction": "sum_layers"},
        QUERIES,
        True,
        [[(0, "rgb+text"), (1, "rgb+text"), (2, "rgb")], [(3, "rgb+nir+sketch"), (4, "rgb+nir"), (0, "nir")]],
    ),
    "flexireid, a rank without pictures": (
        {
            "name": "flexireid",
            "freeze_backbone": False,
            "moe": {**SMALL_MOE, "unit": "sample_mean"},
            "fusion": {"kind": "hierarchical", "lef_scope": "per_mode"},
            "sdm_scale": 20,  # 50 makes much of rounding
        },
        QUERIES,
        True,
        [[(0, "text"), (1, "text")], [(3, QUERIES), (4, "rgb+nir+text"), (0, QUERIES)]],
    ),
    "concat, local": (
        {"fusion": "concat"},
        CAMERAS,
        False,
        [
            [(0, CAMERAS), (0, CAMERAS), (1, CAMERAS), (1, CAMERAS)],
            [(2, CAMERAS), (2, CAMERAS), (0, CAMERAS)],
        ],
    ),
    "mean, local": (
        {"fusion": "mean"},
        "rgb+nir+text",
        False,
        [[(0, "rgb+text"), (0, "rgb"), (1, "rgb+nir")], [(2, "rgb"), (2, "rgb+nir"), (3, "nir+rgb")]],
    ),
}


def config_of(case: str) -> Config:
    """The configuration of a case."""
    fields, modalities, everywhere, _ = CASES[case]
    tower = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
    text = {"width": 16, "layers": 1, "heads": 1, "vocab": 64, "context": 12}
    sections: dict[str, Any] = {"name": "baseline", "tower": tower, **fields}
    if sections["name"] in ("baseline", "stmi", "flexireid"):
        sections["text"] = text
    return load(
        {
            "name": "ranks",
            "data": {
                "name": "x",
                "reader": {"name": "synthetic"},
                "modalities": modalities,
                "height": HEIGHT,
                "width": WIDTH,
            },
            "model": sections,
            "train": {"global_statistics": everywhere},
        }
    )


def model_of(config: Config, placement: ClassifierPlacement = WHOLE) -> ReIDModel:
    """The same model in every process, apart from the rows of its classifiers."""
    torch.manual_seed(11)
    data = config.data
    context = ModelContext(CLASSES, 3, data.height, data.width, data.modalities)
    with classifiers_placed(placement):
        return build_model(config.model, context).train()


def batch_of(case: str, rank: int) -> Batch:
    """A rank's rows, the same whoever asks."""
    drawn = torch.Generator().manual_seed(100 + rank)
    listed = CASES[case][3][rank]
    subsets = [parse_subset(subset) for _, subset in listed]
    n = len(listed)
    present = torch.tensor([[m in subset for m in ORDER] for subset in subsets])
    index = {m: present[:, i].nonzero()[:, 0] for i, m in enumerate(ORDER) if present[:, i].any()}
    pictures = {m: torch.randn(n, 3, HEIGHT, WIDTH, generator=drawn) for m in PUBLISHED if m.is_visual}
    tokens = torch.randint(1, 60, (n, 12), generator=drawn)
    tokens[torch.arange(n), torch.randint(2, 12, (n,), generator=drawn)] = 63
    cameras = torch.randint(-1, 3, present.shape, generator=drawn)
    return Batch(
        pid=torch.tensor([pid for pid, _ in listed]),
        present=present,
        camid=torch.where(present, cameras, UNKNOWN),
        viewid=torch.full(present.shape, UNKNOWN),
        images={m: pictures[m][rows] for m, rows in index.items() if m.is_visual},
        index=index,
        tokens=tokens[index[Modality.TEXT]] if Modality.TEXT in index else None,
        **(described(tokens, drawn) if case.startswith("stmi") and rank not in BARE.get(case, ()) else {}),
    )


def described(tokens: Tensor, drawn: torch.Generator) -> dict[str, Any]:
    """Auxiliary inputs: captions, of which the last is missing, and masks, of which the first is."""
    n = len(tokens)
    mask = torch.zeros(n, 1, HEIGHT, WIDTH)
    for row, top in enumerate(torch.randint(0, 16, (n,), generator=drawn).tolist()):
        mask[row, :, top : top + 16, 4:12] = 1
    place = torch.arange(n)
    return {
        "caption": tokens,
        "caption_present": place < n - 1,
        "mask": mask,
        "mask_present": place > 0,
    }


def step(case: str, batch: Batch, placement: ClassifierPlacement = WHOLE) -> dict[str, dict[str, Tensor]]:
    """Losses, gradients and running statistics of one forward and backward, alone or as a rank."""
    config = config_of(case)
    model = model_of(config, placement)
    if case in AMPLIFIED:
        model = model.double()
        batch = batch.completed(config.data.modalities, HEIGHT, WIDTH)
        batch = replace(batch, images={m: x.double() for m, x in batch.images.items()})
    wrapped = distribute(model, config, torch.device("cpu"))
    with nullcontext() if config.train.global_statistics else local_statistics():
        output = wrapped(batch)
    total_loss(output).backward()
    norm = clip_gradients(model, None)
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return {
        "losses": {n: v.detach() for n, v in output.losses.items()},
        "gradients": {n: p.grad for n, p in trainable if p.grad is not None},
        "lacking": {n: p.detach() for n, p in trainable if p.grad is None},
        "norm": {"norm": norm},
        "buffers": {n: b.clone() for n, b in model.named_buffers() if "running" in n},
    }


def gathered(rank: int) -> dict[str, Any]:
    """gather_rows of ragged, empty and integer rows, and the gradient of a loss on them."""
    rows = (torch.arange(6.0).reshape(3, 2) + 10 * rank)[: 3 - 2 * rank].requires_grad_()
    everyone = gather_rows(rows)
    weight = torch.arange(1.0, 1 + everyone.numel()).reshape(everyone.shape)
    (weight * everyone.square()).sum().backward()
    with local_statistics():
        local = gather_rows(rows)
    loss = batch_hard_triplet(everyone.detach(), torch.arange(len(everyone)) // 2)
    return {
        "rows": everyone.detach(),
        "gradient": rows.grad,
        "names": gather_rows(torch.arange(rank + 1) + 5 * rank),
        "one_empty": gather_rows(torch.ones(2 * rank, 3)),
        "all_empty": gather_rows(torch.ones(0, 3)),
        "local": local.detach(),
        "loss": loss,
    }


def run_rank(rank: int, folder: str) -> None:
    """Every case as one of two ranks; the results go to a file."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    results: dict[str, Any] = {case: step(case, batch_of(case, rank)) for case in CASES}
    for case in SPLIT:
        results[f"{case}, split"] = step(case, batch_of(case, rank), ClassifierPlacement(rank, WORLD))
    results["gathered"] = gathered(rank)
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
