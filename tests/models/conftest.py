"""Tiny baselines and packed batches of any subset per row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from reid.data.batches.batch import UNKNOWN, Batch
from reid.modality import ORDER, PUBLISHED, Modality, Subset, parse_subset
from reid.models.base import ModelContext, ReIDModel
from reid.models.baseline.model import Config, Model

TINY: dict[str, Any] = {
    "tower": {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16},
    "text": {"width": 16, "layers": 1, "heads": 1, "vocab": 64, "context": 12},
}
HEIGHT, WIDTH = 32, 16

Make = Callable[..., ReIDModel]
MakeBatch = Callable[..., Batch]


@pytest.fixture
def make() -> Make:
    """A baseline over some modalities: make("rgb+nir", fusion="concat", ...)."""

    def build(modalities: str, classes: int = 4, cameras: int = 3, **fields: Any) -> ReIDModel:
        torch.manual_seed(1)
        config = Config.model_validate({**TINY, **fields})
        context = ModelContext(classes, cameras, HEIGHT, WIDTH, parse_subset(modalities))
        return Model(config, context).eval()

    return build


@pytest.fixture
def batch_of() -> MakeBatch:
    """A batch from one subset a row; contents are random and depend on the seed only."""

    def build(
        subsets: Sequence[str | Subset], pids: Sequence[int] = (), camera: int = 0, seed: int = 5
    ) -> Batch:
        draw = torch.Generator().manual_seed(seed)
        chosen = [
            parse_subset([m.value for m in s]) if isinstance(s, tuple) else parse_subset(s) for s in subsets
        ]
        n = len(chosen)
        present = torch.tensor([[m in subset for m in ORDER] for subset in chosen])
        index = {m: present[:, i].nonzero()[:, 0] for i, m in enumerate(ORDER) if present[:, i].any()}
        pictures = {m: torch.randn(n, 3, HEIGHT, WIDTH, generator=draw) for m in PUBLISHED if m.is_visual}
        tokens = torch.randint(1, 60, (n, 12), generator=draw)
        tokens[torch.arange(n), torch.randint(2, 12, (n,), generator=draw)] = 63  # the end token
        return Batch(
            pid=torch.tensor(list(pids) or [UNKNOWN] * n),
            present=present,
            camid=torch.where(present, camera, UNKNOWN),
            viewid=torch.full(present.shape, UNKNOWN),
            images={m: pictures[m][rows] for m, rows in index.items() if m.is_visual},
            index=index,
            tokens=tokens[index[Modality.TEXT]] if Modality.TEXT in index else None,
        )

    return build
