"""The tiny edge network TEED: 58,910 parameters, three scales, one fused edge map.

Source: Soria et al., "Tiny and Efficient Model for the Edge Detection Generalization" (ICCV workshops 2023),
section 3; names of the tensors as in the published checkpoints, which load strictly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
"""Sides of the input must be multiples of it: a stride of 4, and room for the transposed convolutions."""


def smish(x: Tensor) -> Tensor:
    """x · tanh(ln(1 + sigmoid(x))): smooth, slightly negative below zero (Wang et al. 2022)."""
    return x * torch.tanh(torch.log1p(torch.sigmoid(x)))


class Smish(nn.Module):
    """`smish` as a layer; it has no tensors of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return smish(x)


class _Double(nn.Module):
    """Two 3×3 convolutions, the first with the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, last: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(smish(self.conv1(x)))
        return smish(y) if self.last else y


class _Single(nn.Module):
    """A 1×1 projection of a skip connection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class _Pair(nn.Module):
    """Two 3×3 convolutions of one size; the first adds a frame of one pixel, which the second takes off."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 2)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(smish(self.conv1(x)))
        return y


class _Dense(nn.Module):
    """A convolutional pair whose result is averaged with the projected skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.denselayer1 = _Pair(inputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.denselayer1(smish(x))
        return (y + skip) / 2


class _Up(nn.Module):
    """Features of one scale -> an edge map at the input's size, by `doublings` transposed convolutions."""

    def __init__(self, inputs: int, doublings: int) -> None:
        super().__init__()
        kernel, padding = 2**doublings, doublings - 1
        layers: list[nn.Module] = []
        for step in range(doublings):
            width = 1 if step == doublings - 1 else 16
            layers += [
                nn.Conv2d(inputs, width, 1),
                Smish(),
                nn.ConvTranspose2d(width, width, kernel, 2, padding),
            ]
            inputs = width
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        return y


class _Fuse(nn.Module):
    """The three maps -> one, by two rounds of depth-wise convolution."""

    def __init__(self, maps: int, times: int = 8) -> None:
        super().__init__()
        width = maps * times
        self.DWconv1 = nn.Conv2d(maps, width, 3, 1, 1, groups=maps)
        self.DWconv2 = nn.Conv2d(width, width, 3, 1, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        first = self.DWconv1(smish(x))
        second = self.DWconv2(smish(first))
        return smish((first + second).sum(1, keepdim=True))


class Teed(nn.Module):
    """RGB-like planes -> four edge maps in logits; the last is the fused one."""

    def __init__(self) -> None:
        super().__init__()
        self.block_1 = _Double(3, 16, 2, last=True)
        self.block_2 = _Double(16, 32, 1, last=False)
        self.dblock_3 = _Dense(32, 48)
        self.side_1 = _Single(16, 32, 2)
        self.pre_dense_3 = _Single(32, 48, 1)
        self.up_block_1 = _Up(16, 1)
        self.up_block_2 = _Up(32, 1)
        self.up_block_3 = _Up(48, 2)
        self.block_cat = _Fuse(3)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) with H and W multiples of STRIDE -> four (B, 1, H, W)."""
        one = self.block_1(x)  # (B, 16, H/2, W/2)
        two = self.block_2(one)  # (B, 32, H/2, W/2)
        pooled = F.max_pool2d(two, 3, 2, 1)  # (B, 32, H/4, W/4)
        three = self.dblock_3(pooled + self.side_1(one), self.pre_dense_3(pooled))  # (B, 48, H/4, W/4)
        maps = [self.up_block_1(one), self.up_block_2(two), self.up_block_3(three)]
        return [*maps, self.block_cat(torch.cat(maps, 1))]
