"""Learned vectors of the camera and the modality that are added to the class token before the encoder.

The camera embedding is the papers' side information (TransReID's SIE, added to the class token only).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid.data.batches.batch import UNKNOWN, Batch
from reid.modality import PUBLISHED, Modality

log = logging.getLogger(__name__)


class ClassBias(nn.Module):
    """The vectors added to the class tokens of a batch's images: of the camera, the modality, or both.

    A camera unknown to training gets the mean of the learned vectors; each model warns of it once. Of the
    modalities, the published ones have the first rows, whichever of them the model takes.
    """

    def __init__(self, width: int, cameras: int, modalities: Sequence[Modality] = ()) -> None:
        super().__init__()
        self.kinds = tuple(dict.fromkeys(m for m in (*PUBLISHED, *modalities) if m.is_visual))
        self.camera = nn.Parameter(torch.empty(cameras, width)) if cameras else None
        self.kind = nn.Parameter(torch.empty(len(self.kinds), width)) if modalities else None
        for table in (self.camera, self.kind):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)
        self._warned = False

    def forward(self, batch: Batch, modalities: Sequence[Modality]) -> Tensor | None:
        """(sum of b_m, width) float32, the modalities' packed entries stacked; None without embeddings."""
        parts = [rows for m in modalities if (rows := self._rows(batch, m)) is not None]
        return torch.cat(parts) if parts else None

    def _rows(self, batch: Batch, modality: Modality) -> Tensor | None:
        bias: Tensor | None = None
        if self.camera is not None:
            labels = batch.cameras(modality)
            known = (labels != UNKNOWN) & (labels < len(self.camera))
            if not (self.training or self._warned or bool(known.all())):
                self._warned = True
                log.warning(
                    "A camera that training did not know: its embedding is the mean of the learned ones."
                )
            bias = torch.where(known[:, None], self.camera[labels.where(known, 0)], self.camera.mean(0))
        if self.kind is not None:
            kind = self.kind[self.kinds.index(modality)].expand(len(batch.index[modality]), -1)
            bias = kind if bias is None else bias + kind
        return bias
