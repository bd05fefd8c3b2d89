"""Rendered captures as tensors: every picture of some identities, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid.data.images import Pixels
from reid.data.synthetic.version2 import PICTURES, Picture, Version2Config, render

NEAREST, FURTHEST = 2000.0, 4500.0
"""Millimetres that become black and white of a depth picture; a hole is black."""


@dataclass(frozen=True)
class RenderedCaptures:
    """N captures; all of them have every picture."""

    pictures: Mapping[str, Tensor]  # modality -> (N, 3, H, W) uint8
    pid: Tensor  # (N,) int64, labels from 0
    camid: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.pid)


def render_captures(config: Version2Config, pids: Iterable[int], captures: int = 2) -> RenderedCaptures:
    """Render `captures` captures of each identity by each camera.

    >>> made = render_captures(Version2Config(height=32, width=16, num_cameras=2), range(5, 8), captures=1)
    >>> made.pictures["nir"].shape, made.pid.tolist()
    (torch.Size([6, 3, 32, 16]), [0, 0, 1, 1, 2, 2])
    """
    pictures: dict[str, list[Pixels]] = {name: [] for name in PICTURES}
    labels: list[tuple[int, int]] = []
    for number, pid in enumerate(pids):
        for camid in range(config.num_cameras):
            for index in range(captures):
                for name, picture in render(config, pid, camid, index).pictures.items():
                    pictures[name].append(three_channels(picture))
                labels.append((number, camid))
    pid, camid = torch.tensor(labels).T.contiguous()
    stacked = {name: torch.from_numpy(np.stack(rows)) for name, rows in pictures.items()}
    return RenderedCaptures({name: rows.permute(0, 3, 1, 2) for name, rows in stacked.items()}, pid, camid)


def three_channels(picture: Picture) -> Pixels:
    """A picture of any modality as (H, W, 3) uint8."""
    if picture.dtype == np.uint16:
        scale = 255.0 / (FURTHEST - NEAREST)
        picture = np.clip((picture.astype(np.float32) - NEAREST) * scale, 0.0, 255.0).astype(np.uint8)
    pixels: Pixels = picture.astype(np.uint8, copy=False)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
