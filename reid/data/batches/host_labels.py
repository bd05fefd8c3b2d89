"""Labels of a batch in main memory, which decide the shapes of a step: no step asks a device for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class HostLabels:
    """Copies, on the CPU, of the labels of a batch of B rows and M modalities."""

    present: Tensor  # (B, M) bool
    mask_present: Tensor | None = None  # (B,) bool
    caption_present: Tensor | None = None  # (B,) bool

    def only(self, columns: Tensor) -> HostLabels:
        """Those of a batch in which only these modalities, (M,) bool, are shown."""
        return replace(self, present=self.present & columns)

    def apart(self) -> HostLabels:
        """The same in memory of their own: not part of a block that holds the pictures, too."""
        mask, caption = self.mask_present, self.caption_present
        return HostLabels(
            self.present.clone(),
            None if mask is None else mask.clone(),
            None if caption is None else caption.clone(),
        )

    def rows(self, column: int) -> Tensor:
        """(b,) int64, ascending: the rows that have the modality of this column."""
        return self.present[:, column].nonzero()[:, 0]


def placed(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the main memory on `device`, without waiting for what is queued there.

    `torch.tensor(..., device=...)` and an index that is a list wait for a GPU; a copy from page-locked memory
    does not.

    >>> placed(torch.tensor([2, 0]), torch.device("cpu"))
    tensor([2, 0])
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def cut_to_longest(tokens: Tensor) -> Tensor:
    """Token ids (b, L) up to the end of the longest text of the main memory; a text ends at its largest id.

    Tokens on a device stay as they are: `Batch.to` has cut them, and looking for the end would wait.

    >>> cut_to_longest(torch.tensor([[1, 9, 0, 0], [1, 4, 9, 0]]))
    tensor([[1, 9, 0],
            [1, 4, 9]])
    """
    if tokens.device.type != "cpu" or not len(tokens):
        return tokens
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]
