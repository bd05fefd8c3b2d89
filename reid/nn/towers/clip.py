"""CLIP image and text towers through open_clip: any input size, rectangular too, every token projected.

Architecture: Radford et al. 2021. The image tower is open_clip's VisionTransformer taken apart so that a
system may act between its stages (before ln_pre, inside a block, on all projected tokens).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.data.batches.host_labels import cut_to_longest
from reid.errors import ConfigError, WeightsError
from reid.nn.blockwise import in_parts, run_block_step
from reid.nn.towers.block import QuickGELU, Replacement, run_block


class ImageTowerConfig(Section):
    """A vision transformer. Defaults are CLIP ViT-B/16's."""

    arch: str | None = Field(
        "ViT-B-16-quickgelu", description="name of an open_clip architecture; null: use the sizes below"
    )
    patch: int = Field(16, ge=1, description="side of a square patch in pixels")
    width: int = Field(768, ge=8, description="size of the tokens inside the tower")
    layers: int = Field(12, ge=1, description="number of transformer blocks")
    heads: int = Field(12, ge=1, description="attention heads of each block")
    dim: int = Field(512, ge=1, description="size of the shared image-text space")
    quick_gelu: bool = Field(
        True, description="use CLIP's original activation, x sigmoid(1.702 x), instead of GELU"
    )


class TextTowerConfig(Section):
    """A causal text transformer. Defaults are CLIP ViT-B/16's."""

    width: int = Field(512, ge=8, description="size of the tokens inside the tower")
    layers: int = Field(12, ge=1, description="number of transformer blocks")
    heads: int = Field(8, ge=1, description="attention heads of each block")
    context: int = Field(77, ge=4, description="largest number of tokens of a text")
    vocab: int = Field(49408, description="number of different token ids")
    quick_gelu: bool = Field(
        True, description="use CLIP's original activation, x sigmoid(1.702 x), instead of GELU"
    )


_PLAIN = {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio"}
"""Fields of a vision_cfg that ImageTower honours; others (pooling, layer scale) mean another architecture."""


def _open_clip_config(arch: str) -> dict[str, Any]:
    import open_clip

    config = open_clip.get_model_config(arch)
    vision = (config or {}).get("vision_cfg", {})
    if not vision.get("patch_size") or set(vision) - _PLAIN or vision.get("mlp_ratio", 4.0) != 4.0:
        known = ", ".join(a for a in open_clip.list_models() if a.startswith("ViT-B"))
        raise ConfigError(f"model.tower.arch: unknown or not a plain ViT: {arch!r}. For example: {known}.")
    return dict(config or {})


def resolved_image_config(config: ImageTowerConfig) -> ImageTowerConfig:
    """The sizes that `arch` stands for, written out."""
    if config.arch is None:
        return config
    named = _open_clip_config(config.arch)
    vision = named["vision_cfg"]
    return ImageTowerConfig(
        arch=None,
        patch=vision["patch_size"],
        width=vision["width"],
        layers=vision["layers"],
        heads=vision["width"] // vision.get("head_width", 64),
        dim=named["embed_dim"],
        quick_gelu=bool(named.get("quick_gelu", False)),
    )


class ImageTower(nn.Module):
    """Images (b, 3, H, W) -> projected tokens (b, 1 + N, dim); token 0 is the class token.

    N = (H // patch) * (W // patch). H and W are fixed at construction. Blocks listed in `without_ffn` have no
    FFN of their own: `encode` must be given a replacement for each. Raises ConfigError when the patch grid
    does not cover the image.
    """

    def __init__(
        self, config: ImageTowerConfig, height: int, width: int, without_ffn: Collection[int] = ()
    ) -> None:
        super().__init__()
        from open_clip.transformer import VisionTransformer

        sizes = resolved_image_config(config)
        if height % sizes.patch or width % sizes.patch:
            raise ConfigError(
                f"data.height x data.width = {height}x{width} is no multiple of the tower's patch of "
                f"{sizes.patch}; use e.g. {_nearest(height, sizes.patch)}x{_nearest(width, sizes.patch)}."
            )
        self.config = sizes
        self.dim = sizes.dim
        self.width = sizes.width
        self.size = (height, width)
        self.grid = (height // sizes.patch, width // sizes.patch)
        self.visual = VisionTransformer(
            image_size=(height, width),  # a pair is allowed
            patch_size=sizes.patch,
            width=sizes.width,
            layers=sizes.layers,
            heads=sizes.heads,
            mlp_ratio=4.0,
            output_dim=sizes.dim,
            act_layer=QuickGELU if sizes.quick_gelu else nn.GELU,
        )
        self.without_ffn = frozenset(without_ffn)
        for layer in self.without_ffn:
            self.blocks[layer].mlp = nn.Identity()

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's residual attention blocks, first to last."""
        blocks: nn.ModuleList = self.visual.transformer.resblocks
        return blocks

    def patchify(self, images: Tensor, class_bias: Tensor | None = None) -> Tensor:
        """(b, 3, H, W) -> tokens (b, 1 + N, width) before ln_pre.

        `class_bias` (b, width) is added to the class token.
        """
        patches = self.visual.conv1(images).flatten(2).transpose(1, 2)  # (b, N, width)
        cls = self.visual.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        if class_bias is not None:
            cls = cls + class_bias.to(patches.dtype)[:, None]
        tokens = torch.cat([cls, patches], dim=1)
        positioned: Tensor = tokens + self.visual.positional_embedding.to(tokens.dtype)
        return positioned

    def encode(
        self,
        tokens: Tensor,
        ffn: Mapping[int, Replacement] | None = None,
        class_only: bool = False,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """Tokens (b, 1 + N, width) before ln_pre -> tokens after the last block, of the same shape.

        `ffn` maps a block's index (0-based) to what replaces its FFN. `class_only` gives (b, 1, width), the
        class token: in the last block the other tokens serve as keys and values only, which cannot change it.
        `start` and `stop` run a part: blocks start ... stop - 1, with ln_pre before block 0.
        """
        ffn = ffn or {}
        last = len(self.blocks) - 1
        bare = self.without_ffn & set(range(len(self.blocks))[start:stop]) - set(ffn)
        if bare:
            raise ValueError(f"Block {min(bare)} has no FFN of its own and was given no replacement.")

        def encoded(tokens: Tensor) -> Tensor:
            if start == 0:
                tokens = self.visual.ln_pre(tokens)
            for layer, block in list(enumerate(self.blocks))[start:stop]:
                tokens = run_block_step(
                    run_block, block, tokens, ffn.get(layer), class_only and layer == last
                )
            return tokens

        return encoded(tokens) if ffn else in_parts(encoded, tokens)

    def project(self, tokens: Tensor) -> Tensor:
        """ln_post and the projection to the shared space, on whichever tokens are given."""
        projected: Tensor = self.visual.ln_post(tokens) @ self.visual.proj
        return projected

    def forward(self, images: Tensor, class_bias: Tensor | None = None) -> Tensor:
        """Every projected token, (b, 1 + N, dim)."""
        return self.project(self.encode(self.patchify(images, class_bias)))

    def class_feature(self, images: Tensor, class_bias: Tensor | None = None, prune: bool = True) -> Tensor:
        """The projected class token only, (b, dim): equal to `forward(...)[:, 0]` with less computation.

        `prune` False computes all tokens. Without images the result has no rows but a zero gradient for every
        parameter, as a rank of DDP needs.
        """
        if not len(images):
            bias = None if class_bias is None else F.pad(class_bias, (0, 0, 0, 1))
            return self.class_feature(images.new_zeros(1, *images.shape[1:]), bias, prune)[:0]
        tokens = self.encode(self.patchify(images, class_bias), class_only=prune)
        return self.project(tokens)[:, 0]


def _nearest(size: int, patch: int) -> int:
    return max(patch, round(size / patch) * patch)


class TextTower(nn.Module):
    """Token ids (b, 77) -> projected tokens (b, 77, dim) and the feature at the end-of-text token.

    Blocks listed in `without_ffn` have no FFN of their own; `forward` then cannot be used.
    """

    def __init__(self, config: TextTowerConfig, dim: int, without_ffn: Collection[int] = ()) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.config = config
        self.dim = dim
        self.text = TextTransformer(
            context_length=config.context,
            vocab_size=config.vocab,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=dim,
            act_layer=QuickGELU if config.quick_gelu else nn.GELU,
        )
        for layer in without_ffn:
            self.blocks[layer].mlp = nn.Identity()

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's causal residual attention blocks, first to last."""
        blocks: nn.ModuleList = self.text.transformer.resblocks
        return blocks

    def embed_ids(self, tokens: Tensor) -> Tensor:
        """(b, L) ids -> (b, L, width) before the first block; L may be cut to the batch's longest text."""
        positioned: Tensor = (
            self.text.token_embedding(tokens) + self.text.positional_embedding[: tokens.shape[1]]
        )
        return positioned

    def project(self, x: Tensor) -> Tensor:
        """ln_final and the projection to the shared space, on whichever tokens are given."""
        projected: Tensor = self.text.ln_final(x) @ self.text.text_projection
        return projected

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, L) ids -> (b, L, dim) projected tokens; L may be cut to the longest text of the batch."""
        length = tokens.shape[1]
        mask = self.text.attn_mask[:length, :length]

        def encoded(tokens: Tensor) -> Tensor:
            x = self.embed_ids(tokens)
            for block in self.blocks:
                x = run_block_step(block, x, None, None, mask)
            return self.project(x)

        return in_parts(encoded, tokens)

    def feature(self, tokens: Tensor) -> Tensor:
        """(b, L) ids -> (b, dim), the feature at the end-of-text token, which has the largest id.

        Positions after the longest text have no effect, as the mask is causal: they are cut where that does
        not mean waiting for a device. Without texts the result has no rows but a zero gradient for every
        parameter.
        """
        if not len(tokens):
            return self.feature(tokens.new_zeros(1, 1))[:0]
        tokens = cut_to_longest(tokens)
        ends = tokens.argmax(dim=1)
        projected = self.forward(tokens)
        return projected[torch.arange(len(tokens), device=tokens.device), ends]


def resize_positions(table: Tensor, grid: tuple[int, int], source: tuple[int, int] | None = None) -> Tensor:
    """Positional table (1 + h*w, width) -> (1 + H*W, width), bilinear; the class row is kept.

    `source` is (h, w) of the given table; a square one is assumed when it is None.
    """
    rows = table.shape[0] - 1
    if source is None:
        side = int(rows**0.5)
        source = (side, side)
    if source[0] * source[1] != rows:
        raise WeightsError(f"A positional table of {rows} patches is not a {source[0]}x{source[1]} grid.")
    if source == grid:
        return table
    patches = table[1:].T.reshape(1, -1, *source).float()
    resized = F.interpolate(patches, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], resized[0].flatten(1).T.to(table.dtype)])
