"""A batch whose tensors lie end to end in one block of bytes, which two processes share.

What goes through the pipe between them is the batch with the tensors' places in the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from reid.data.batches.batch import Batch

_ALIGNED = 64
"""Bytes: tensors start at multiples of this."""
Allocate = Callable[[int], Tensor]
"""Number of bytes -> a block, uint8."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a block."""

    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    def view(self, block: Tensor) -> Tensor:
        """The tensor, in the memory of `block`."""
        end = self.start + math.prod(self.shape) * self.dtype.itemsize
        return block[self.start : end].view(self.dtype).view(self.shape)


@dataclass
class _Packing:
    """Places that have been given to tensors."""

    tensors: list[tuple[Place, Tensor]] = field(default_factory=list)
    size: int = 0

    def place(self, tensor: Tensor) -> Any:
        found = Place(self.size, tensor.dtype, tuple(tensor.shape))
        self.tensors.append((found, tensor))
        self.size += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        return found


def pack(batch: Batch, allocate: Allocate) -> tuple[Batch, int]:
    """The batch with places instead of tensors, which are copied to a block, and the bytes they take."""
    packing = _Packing()
    places = batch.mapped(packing.place)
    block = allocate(packing.size)
    for place, tensor in packing.tensors:
        place.view(block).copy_(tensor)
    return places, packing.size


def unpack(places: Batch, block: Tensor) -> Batch:
    """The batch; its tensors are parts of `block`."""
    return places.mapped(lambda place: cast(Place, place).view(block))
