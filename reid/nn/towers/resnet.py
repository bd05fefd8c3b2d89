"""ResNets (He et al. 2016) cut before their last stage, which keeps its input's resolution.

Names, shapes and arithmetic are torchvision's, so that its weights fit; only the last stage's stride is 1, as
in person re-identification since PCB and Luo et al. 2019. Batch statistics are those of all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.blockwise import run_block_step
from reid.nn.global_batch_norm import GlobalBatchNorm2d
from reid.nn.towers.filling import check_blocks, fill
from reid.nn.towers.torchvision_weights import torchvision_state
from reid.storage.checkpoints import State

ResNetName = Literal["resnet18", "resnet50"]
BLOCKS: dict[str, tuple[int, ...]] = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
LAST = "layer4."


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 3, stride, padding=1, bias=False)
        self.bn1 = GlobalBatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = GlobalBatchNorm2d(planes)
        self.downsample = _shortcut(inner, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inner, h, w) -> (b, planes, h / stride, w / stride)."""
        return run_block_step(self._mapped, x)

    def _mapped(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 1, bias=False)
        self.bn1 = GlobalBatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = GlobalBatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = GlobalBatchNorm2d(4 * planes)
        self.downsample = _shortcut(inner, 4 * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inner, h, w) -> (b, 4 planes, h / stride, w / stride)."""
        return run_block_step(self._mapped, x)

    def _mapped(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inner: int, outer: int, stride: int) -> nn.Module | None:
    if stride == 1 and inner == outer:
        return None
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), GlobalBatchNorm2d(outer))


class ResNetTrunk(nn.Module):
    """Pictures of two modalities -> maps after the third stage, (b, shared, H / 16, W / 16).

    `last` is the fourth stage with stride 1; `take_last` hands it over. `base` is the width of the first
    stage (torchvision: 64). With `two_stems` each modality has a first convolution of its own (AGW).
    """

    def __init__(self, arch: ResNetName, base: int = 64, two_stems: bool = False) -> None:
        super().__init__()
        self.arch, self.base = arch, base
        block = Bottleneck if arch == "resnet50" else BasicBlock
        self.conv1, self.bn1 = _stem(base)
        if two_stems:
            self.conv1_infrared, self.bn1_infrared = _stem(base)
        inner, stages = base, []
        for i, (blocks, stride) in enumerate(zip(BLOCKS[arch], (1, 2, 2, 1), strict=True)):
            planes = base << i
            rest = [block(planes * block.expansion, planes, 1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(block(inner, planes, stride), *rest))
            inner = planes * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.shared, self.channels = inner // 2, inner
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if two_stems:  # equal at first, as with weights from a checkpoint
            self.conv1_infrared.load_state_dict(self.conv1.state_dict())

    def take_last(self) -> nn.Module:
        """The last stage (b, shared, h, w) -> (b, channels, h, w), which then is no part of this any more."""
        last = self.layer4
        del self.layer4
        return last

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """(v, 3, H, W) and (i, 3, H, W), either may be empty -> (v + i, shared, H / 16, W / 16)."""
        if hasattr(self, "conv1_infrared"):
            stems = ((self.conv1, self.bn1), (self.conv1_infrared, self.bn1_infrared))
            x = torch.cat([bn(conv(x)) for (conv, bn), x in zip(stems, (visible, infrared), strict=True)])
        else:
            x = self.bn1(self.conv1(torch.cat([visible, infrared])))
        x = F.max_pool2d(F.relu(x), 3, stride=2, padding=1)
        out: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return out

    def load(self, spec: str, lasts: Sequence[nn.Module]) -> None:
        """Fill this and every copy of the last stage from torchvision weights: a name, a path or s3://."""
        state = torchvision_state(spec, self.arch)
        for number, blocks in enumerate(BLOCKS[self.arch], 1):
            check_blocks(state, f"layer{number}.", blocks, spec, self.arch)
        own: State = {k: v for k, v in state.items() if not k.startswith((LAST, "fc."))}
        for part in ("conv1", "bn1"):
            if hasattr(self, f"{part}_infrared"):
                twins = {k.replace(part, f"{part}_infrared", 1): v for k, v in own.items()}
                own |= {k: v for k, v in twins.items() if k.startswith(f"{part}_infrared.")}
        fill(self, own, spec, self.arch, state)
        stage = {k.removeprefix(LAST): v for k, v in state.items() if k.startswith(LAST)}
        for last in lasts:
            fill(last, stage, spec, LAST, state)


def _stem(base: int) -> tuple[nn.Conv2d, nn.Module]:
    return nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False), GlobalBatchNorm2d(base)
