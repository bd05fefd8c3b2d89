"""Describes the model of a configuration: parameters, compute and modalities, without data or weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reid.config import Config
from reid.config.addresses import shards_uri
from reid.data.batches.batch import Batch
from reid.data.batches.tokens import CONTEXT
from reid.data.shards.places import find_set
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, DataError
from reid.modality import ORDER, Modality, Subset, subset_name
from reid.models.base import Auxiliary, ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.runs.identities import training_labels

PUBLISHED = {
    "rgbnt201": (171, 4),
    "rgbnt100": (50, 8),
    "msvr310": (155, 8),
    "sysu-mm01": (395, 6),
    "regdb": (206, 2),
    "llcm": (713, 9),
    "market1501": (751, 6),
    "cuhk-pedes": (11003, 0),
    "icfg-pedes": (3102, 0),
    "rstp-reid": (3701, 0),
}
"""Training identities and cameras of the public sets, by data.name: what the papers' heads are built for."""


def describe_config(config: Config, classes: int | None = None, cameras: int | None = None) -> dict[str, Any]:
    """JSON-able description. Identities and cameras: as given, else of the built shards, else published.

    Raises ConfigError when they are not known.
    """
    known = _known_counts(config)
    if (classes is None or cameras is None) and known is None:
        raise ConfigError(
            f"How many identities and cameras has {config.data.name!r}? Build its shards, or give --classes "
            "and --cameras."
        )
    found = known or (0, 0)
    classes = found[0] if classes is None else classes
    cameras = found[1] if cameras is None else cameras
    data = config.data
    context = ModelContext(classes, max(1, cameras), data.height, data.width, data.modalities)
    model = build_model(config.model, context)
    modalities = tuple(m for m in ORDER if m in model.query_modalities)
    return {
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "classes": classes,
        "cameras": cameras,
        "regime": model.regime.value,
        "dim": model.dim,
        "query_modalities": [m.value for m in modalities],
        "gallery_modalities": [m.value for m in ORDER if m in model.gallery_modalities],
        "parameters": parameter_counts(model),
        "sample": subset_name(modalities),
        "gmac_per_sample": gmac(model, modalities, data.height, data.width, prune=False),
        "gmac_per_embedding": gmac(model, modalities, data.height, data.width),
    }


def _known_counts(config: Config) -> tuple[int, int] | None:
    place = find_set(shards_uri(config))  # several sets are an error, none is none
    try:
        shards = ShardSet.at(place)
    except DataError:
        return PUBLISHED.get(config.data.name)
    labels, _ = training_labels(shards, config.train.val.fraction, config.seed)
    return len(labels.classes), len(labels.cameras)


def gmac(model: ReIDModel, modalities: Subset, height: int, width: int, prune: bool = True) -> float:
    """10^9 multiply-accumulates of embedding one sample with all its modalities (matrix products only).

    `prune` False counts the whole architecture, as papers do; True what an embedding here really costs.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the text tower's fused path hides its products
    was, model.prune = model.prune, prune
    rows = 2  # a model may treat a single row differently
    drawn = torch.Generator().manual_seed(0)  # equal tokens would all go to one expert
    batch = dummy_batch(modalities, rows, height, width, model.auxiliary)
    pictures = {m: torch.randn(x.shape, generator=drawn) for m, x in batch.images.items()}
    device = next(model.parameters()).device
    try:
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model.eval().embed(replace(batch, images=pictures).to(device), "query")
    finally:
        model.prune = was
        torch.backends.mha.set_fastpath_enabled(fast)
    return float(counter.get_total_flops()) / rows / 2e9


def dummy_batch(
    modalities: Subset, rows: int, height: int, width: int, auxiliary: frozenset[Auxiliary] = frozenset()
) -> Batch:
    """Rows of zeros with every modality and auxiliary input: for shapes and counts only."""
    present = torch.tensor([[m in modalities for m in ORDER]] * rows)
    tokens = torch.zeros(rows, CONTEXT, dtype=torch.int64)
    tokens[:, -1] = 1  # the text reaches the last position
    return Batch(
        pid=torch.zeros(rows, dtype=torch.int64),
        present=present,
        camid=torch.zeros(rows, len(ORDER), dtype=torch.int64),
        viewid=torch.zeros(rows, len(ORDER), dtype=torch.int64),
        images={m: torch.zeros(rows, 3, height, width) for m in modalities if m.is_visual},
        index={m: torch.arange(rows) for m in modalities},
        tokens=tokens if Modality.TEXT in modalities else None,
        **_auxiliaries(auxiliary, tokens, height, width),
    )


def _auxiliaries(auxiliary: frozenset[Auxiliary], tokens: Tensor, height: int, width: int) -> dict[str, Any]:
    """Captions of full length, and masks of the upper half."""
    everyone = torch.ones(len(tokens), dtype=torch.bool)
    found: dict[str, Any] = {}
    if Auxiliary.CAPTION in auxiliary:
        found |= {"caption": tokens, "caption_present": everyone}
    if Auxiliary.MASK in auxiliary:
        mask = torch.zeros(len(tokens), 1, height, width)
        mask[:, :, : height // 2] = 1
        found |= {"mask": mask, "mask_present": everyone}
    return found
