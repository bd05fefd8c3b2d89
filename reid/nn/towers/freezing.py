"""Selects the trained weights of CLIP's towers, and loads the modality embedding of an own run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from reid.errors import WeightsError
from reid.nn.towers.class_bias import ClassBias
from reid.nn.towers.clip import ImageTower, TextTower
from reid.storage.run_files import RunFiles


def freeze_towers(
    towers: Iterable[ImageTower | TextTower], frozen: bool, norms: bool = False, projections: bool = False
) -> None:
    """Freeze every weight, but for the layer norms (`norms`) and the projections to the shared space.

    Not `frozen`: everything is trained, and the two exceptions change nothing.
    """
    for tower in towers:
        tower.requires_grad_(not frozen)
        if not frozen:
            continue
        if norms:
            for part in tower.modules():
                if isinstance(part, nn.LayerNorm):
                    part.requires_grad_(True)
        if projections:
            proj = tower.visual.proj if isinstance(tower, ImageTower) else tower.text.text_projection
            proj.requires_grad_(True)


def load_modality_embedding(spec: str, bias: ClassBias) -> None:
    """Fill the modalities' vectors from the run that the towers are of (`run:<folder>`).

    Raises WeightsError when there is no such run or it has none of this width.
    """
    found = None
    if spec.startswith("run:"):
        tensors = RunFiles.find(spec.removeprefix("run:")).weights()
        found = tensors.get("class_bias.kind", tensors.get("kind"))  # the latter in older baselines
    if found is None or bias.kind is None or found.shape != bias.kind.shape:
        raise WeightsError(
            f"model.modality_embedding=true: weights {spec!r} have no such vectors of this width (CLIP's "
            "have none). Set it to false, or use a run that was trained with it."
        )
    with torch.no_grad():
        bias.kind.copy_(found)
