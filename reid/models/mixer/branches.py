"""Copies of a backbone's last stage, side by side: they compute the parts of MixER's features.

MixER (arXiv 2501.13307) describes a modality-erased and a modality-related feature of each modality, both as
maps before pooling. The number and use of the copies is reconstructed: three copies of the last stage and
five classifiers give the paper's parameter totals for ResNet-18, ResNet-50 and ViT-L/16.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from reid.models.mixer.modality_alleviation import ModalityAlleviation
from reid.nn.precision import full_precision, without_autocast

Layout = Literal["e_rv_ri", "e_r_base", "e_r", "e"]
Part = Literal["erased", "related", "base"]
PARTS: dict[Layout, tuple[Part, ...]] = {
    "e_rv_ri": ("erased", "related"),
    "e_r_base": ("erased", "related", "base"),
    "e_r": ("erased", "related"),
    "e": ("erased",),
}
VISIBLE, INFRARED = "related_visible", "related_infrared"


class Trunk(Protocol):
    """A backbone without its last stage: the interface that a branched head needs."""

    shared: int
    """Channels of the map that it gives: the last stage's input."""
    channels: int
    """Channels of the pooled last stage."""

    def __call__(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """(v, 3, H, W) and (i, 3, H, W) -> the maps (v + i, shared, h, w), visible ones first."""

    def take_last(self) -> nn.Module:
        """Remove and return the last stage, (b, shared, h, w) -> (b, channels, h, w)."""


@dataclass(frozen=True)
class Views:
    """Pooled features of n images; the first `visible` are visible ones."""

    parts: dict[Part, Tensor]  # (n, D) each, float32
    visible: int

    def stacked(self) -> Tensor:
        """(n, parts, D)."""
        return torch.stack(list(self.parts.values()), dim=1)


class GeM(nn.Module):
    """Generalised-mean pooling with a learned power (Radenovic et al. 2018): maps (b, C, h, w) -> (b, C)."""

    def __init__(self, power: float = 3.0, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.power, self.epsilon = nn.Parameter(torch.tensor(power)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """In float32."""
        pooled: Tensor = full_precision(x).clamp_min(self.epsilon).pow(self.power).mean((2, 3))
        return pooled.pow(1 / self.power)


class AveragePool(nn.Module):
    """Maps (b, C, h, w) -> (b, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """In float32."""
        return full_precision(x).mean((2, 3))


class Branches(nn.Module):
    """Copies of the last stage on the maps before it -> pooled features. All copies start equal.

    `last` becomes the erased branch. MAM acts on its input and, with shared weights, on each branch's output;
    `pool` follows. Layouts: `e` has only the erased branch; `e_r` adds one related branch for both
    modalities; `e_rv_ri` adds one for each, with the images of that modality; `e_r_base` is `e_r` with an
    unchanged branch. `project` maps the erased feature to one half of a learned basis and the related one to
    the other half (orthogonality as in SGIEL).
    """

    def __init__(
        self,
        last: nn.Module,
        pool: nn.Module,
        shared: int,
        channels: int,
        layout: Layout = "e_rv_ri",
        mam: bool = True,
        project: bool = False,
    ) -> None:
        super().__init__()
        names: dict[Layout, list[str]] = {
            "e_rv_ri": ["erased", VISIBLE, INFRARED],
            "e_r": ["erased", "related"],
            "e_r_base": ["erased", "related", "base"],
            "e": ["erased"],
        }
        self.layout = layout
        self.shared_mam = ModalityAlleviation(shared) if mam else None
        self.mam = ModalityAlleviation(channels) if mam else None
        self.stages = nn.ModuleDict(
            {name: last if name == "erased" else copy.deepcopy(last) for name in names[layout]}
        )
        self.pool = pool
        self.basis = nn.Parameter(torch.eye(channels)) if project else None

    @property
    def copies(self) -> list[nn.Module]:
        """The copies of the last stage, the erased branch's first."""
        return list(self.stages.values())

    def forward(self, shared: Tensor, visible: int, only: tuple[Part, ...], whole: bool = False) -> Views:
        """Compute the parts in `only` for images of which the first `visible` are visible ones.

        `whole` computes every branch for every image, as papers count operations, although not all is used.
        """
        x = shared if self.shared_mam is None else self.shared_mam(shared)
        parts: dict[Part, Tensor] = {}
        for part in PARTS[self.layout]:
            if part not in only and not whole:
                continue
            feature = self._related(x, visible, whole) if self._is_routed(part) else self._branch(part, x)
            if part in only:
                parts[part] = self._projected(part, feature)
        return Views(parts, visible)

    def _is_routed(self, part: Part) -> bool:
        return part == "related" and self.layout == "e_rv_ri"

    def _related(self, x: Tensor, visible: int, whole: bool) -> Tensor:
        if whole:
            each = [self._branch(name, x) for name in (VISIBLE, INFRARED)]
            return torch.cat([each[0][:visible], each[1][visible:]])
        routed = [(VISIBLE, x[:visible]), (INFRARED, x[visible:])]
        if not self.training:  # in training a rank without pictures still takes part in the statistics
            routed = [(name, rows) for name, rows in routed if len(rows)] or routed[:1]
        return torch.cat([self._branch(name, rows) for name, rows in routed])

    def _branch(self, name: str, x: Tensor) -> Tensor:
        """(b, D) float32."""
        maps = self.stages[name](x)
        if self.mam is not None:
            maps = self.mam(maps)
        return full_precision(cast(Tensor, self.pool(maps)))

    def _projected(self, part: Part, feature: Tensor) -> Tensor:
        """P P^T of the part's half of the basis, on (b, D)."""
        if self.basis is None or part == "base":
            return feature
        half = self.basis.shape[1] // 2
        basis = self.basis[:, :half] if part == "erased" else self.basis[:, half:]
        with without_autocast(feature.device):
            return feature @ basis @ basis.T
