"""Vision transformers cut before their last block: torchvision's ViT-B/16 and ViT-L/16, and CLIP's tower.

Dosovitskiy et al. 2021. What MixER calls the last stage is here the last block; it gives the class token,
and the norm (for CLIP's tower the projection too) that follows is shared by all copies of the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reid.errors import ConfigError
from reid.nn.blockwise import in_parts, run_block_step
from reid.nn.towers.block import attention, run_block
from reid.nn.towers.clip import ImageTower, ImageTowerConfig
from reid.nn.towers.filling import check_blocks, fill
from reid.nn.towers.torchvision_weights import torchvision_state
from reid.nn.towers.weights import fitted_positions, load_tower_weights

ViTName = Literal["vit_b_16", "vit_l_16"]
SIZES: dict[str, tuple[int, int, int]] = {"vit_b_16": (12, 12, 768), "vit_l_16": (24, 16, 1024)}
"""Blocks, heads and width; patches of 16 x 16."""
PATCH = 16
BLOCKS = "encoder.layers.encoder_layer_"


class LastBlock(nn.Module):
    """A last block: tokens (b, 1 + N, width) -> the class token as a map of one place, (b, width, 1, 1).

    The other tokens serve as keys and values only, unless `whole`: it cannot change the class token.
    """

    whole = False

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor) -> Tensor:
        """Works for torchvision's encoder block and for open_clip's."""
        return run_block_step(self._class_token, tokens)

    def _class_token(self, tokens: Tensor) -> Tensor:
        block: Any = self.block
        out: Tensor
        if hasattr(block, "attn"):
            out = run_block(block, tokens, class_only=not self.whole)
        elif self.whole:
            out = block(tokens)
        else:
            normed = block.ln_1(tokens)
            out = tokens[:, :1] + attention(block.self_attention, normed[:, :1], normed)
            out = out + block.mlp(block.ln_2(out))
        return out[:, 0, :, None, None]


class ClassToken(nn.Module):
    """What follows the last block: a norm, and for CLIP a projection; (b, width, 1, 1) -> (b, dim)."""

    def __init__(self, norm: nn.Module, projection: nn.Parameter | None = None) -> None:
        super().__init__()
        self.norm, self.projection = norm, projection

    def forward(self, x: Tensor) -> Tensor:
        """In the dtype of the norm's output."""
        out: Tensor = self.norm(x.flatten(1))
        return out if self.projection is None else out @ self.projection


class ViTTrunk(nn.Module):
    """Pictures (v, 3, H, W) and (i, 3, H, W) -> tokens (v + i, 1 + N, width) before the last block."""

    def __init__(self, arch: ViTName, height: int, width: int) -> None:
        super().__init__()
        from torchvision.models import VisionTransformer

        if height % PATCH or width % PATCH:
            raise ConfigError(
                f"data.height x data.width = {height}x{width} is no multiple of {arch}'s patch of {PATCH}."
            )
        layers, heads, dim = SIZES[arch]
        made = VisionTransformer(PATCH, PATCH, layers, heads, dim, 4 * dim, num_classes=1)
        self.arch, self.shared, self.channels = arch, dim, dim
        self.grid = (height // PATCH, width // PATCH)
        self.conv_proj, self.class_token = made.conv_proj, made.class_token
        self.positions = nn.Parameter(torch.empty(1 + self.grid[0] * self.grid[1], dim).normal_(std=0.02))
        self.blocks = nn.ModuleList(made.encoder.layers)
        self.norm = made.encoder.ln

    def take_last(self) -> nn.Module:
        """The last block, which then is no part of this any more."""
        last = self.blocks[-1]
        del self.blocks[-1]
        return LastBlock(last)

    def take_pool(self) -> nn.Module:
        """What follows the last block, no part of this any more."""
        norm = self.norm
        del self.norm
        return ClassToken(norm)

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """(v + i, 1 + N, width); either modality may be empty."""
        return in_parts(self._encoded, torch.cat([visible, infrared]))

    def _encoded(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        cls = self.class_token.to(patches.dtype).expand(len(patches), -1, -1)
        tokens: Tensor = torch.cat([cls, patches], dim=1) + self.positions.to(patches.dtype)
        for block in self.blocks:
            tokens = run_block_step(block, tokens)
        return tokens

    def load(self, spec: str, lasts: Sequence[nn.Module], pool: nn.Module) -> None:
        """Fill this, every copy of the last block and the norm from torchvision weights."""
        state = torchvision_state(spec, self.arch)
        check_blocks(state, BLOCKS, len(self.blocks) + 1, spec, self.arch)
        if "encoder.pos_embedding" in state:
            state["positions"] = fitted_positions(state.pop("encoder.pos_embedding")[0], self.grid, spec)
        fill(self, {k.replace(BLOCKS, "blocks."): v for k, v in state.items()}, spec, self.arch, state)
        first = f"{BLOCKS}{len(self.blocks)}."
        block = {"block." + k.removeprefix(first): v for k, v in state.items() if k.startswith(first)}
        for last in lasts:
            fill(last, block, spec, "the last block", state)
        norm = {k.replace("encoder.ln.", "norm."): v for k, v in state.items()}
        fill(pool, norm, spec, "the last norm", state)


class TowerTrunk(nn.Module):
    """CLIP's image tower up to its last block; weights as the baseline's, `run:` included."""

    def __init__(self, config: ImageTowerConfig, height: int, width: int) -> None:
        super().__init__()
        self.arch = config.arch
        self.tower = ImageTower(config, height, width)
        self.shared, self.channels = self.tower.width, self.tower.dim

    def take_last(self) -> nn.Module:
        """The last block, which then is no part of this any more."""
        last = self.tower.blocks[-1]
        del self.tower.blocks[-1]
        return LastBlock(last)

    def take_pool(self) -> nn.Module:
        """Norm and projection, no part of this any more."""
        visual = self.tower.visual
        pool = ClassToken(visual.ln_post, visual.proj)
        visual.ln_post, visual.proj = nn.Identity(), None
        return pool

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """(v + i, 1 + N, width); either modality may be empty."""
        return self.tower.encode(self.tower.patchify(torch.cat([visible, infrared])))

    def load(self, spec: str, lasts: Sequence[nn.Module], pool: nn.Module) -> None:
        """Fill the tower, with its end put back for the while, and copy its last block."""
        first, visual = lasts[0], self.tower.visual
        assert isinstance(first, LastBlock) and isinstance(pool, ClassToken)
        self.tower.blocks.append(first.block)
        visual.ln_post, visual.proj = pool.norm, pool.projection
        try:
            load_tower_weights(spec, self.tower, None, self.arch)
        finally:
            self.take_last()
            self.take_pool()
        for other in lasts[1:]:
            other.load_state_dict(first.state_dict())
