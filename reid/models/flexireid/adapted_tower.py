"""CLIP's blocks with an adapter beside, in place of, or behind their FFN.

FlexiReID puts a mixture after the attention of every block of both towers. Its formula alone would
have it replace the FFN; that it stands beside the frozen FFN, as AdaptFormer's adapter does, is a
reconstruction and the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.data.batches.host_labels import cut_to_longest
from reid.nn.blockwise import run_block_step
from reid.nn.moe.routing import Routing
from reid.nn.towers.block import attention, feed_forward
from reid.nn.towers.clip import ImageTower, TextTower

Place = Literal["parallel", "replace", "sequential"]
Reads = Literal["ln", "h"]


@dataclass(frozen=True)
class Sequences:
    """What an adapter may need to know of b sequences of T tokens."""

    anchor: Tensor | None = None  # (b,) int64 place of the global token; None: the first
    valid: Tensor | None = None  # (b, T) bool; None: no padding
    keys: Tensor | None = None  # (b, T) int64 what hash routing hashes; None: the place

    def first(self) -> Sequences:
        """Of the first token of each sequence alone."""
        return Sequences(None, None, None if self.keys is None else self.keys[:, :1])


class Adapter(Protocol):
    """Tokens (b, T, D) -> what is added to them, and how they were routed."""

    def __call__(self, tokens: Tensor, sequences: Sequences) -> tuple[Tensor, Routing]: ...


@dataclass(frozen=True)
class Style:
    """How blocks are adapted."""

    place: Place = "parallel"
    reads: Reads = "ln"


def adapted_block(
    block: Any,
    adapter: Adapter | None,
    tokens: Tensor,
    sequences: Sequences,
    style: Style,
    causal: bool = False,
    class_only: bool = False,
) -> tuple[Tensor, Routing | None]:
    """One block: tokens (b, T, D) -> (b, T, D), or (b, 1, D) with `class_only`, and the adapter's routing.

    With h what attention made: parallel h + FFN(LN2(h)) + A(u), replace h + A(u), u being LN2(h) or, if it
    reads "h", h. sequential: h + y + A(u) with y = FFN(LN2(h)), u being y or, if it reads "h", h + y.
    """
    normed = block.ln_1(tokens)
    if class_only:
        attended = attention(block.attn, normed[:, :1], normed)
        sequences = sequences.first()
    else:
        attended = attention(block.attn, normed, causal=causal)
    h = tokens[:, : attended.shape[1]] + attended
    normed = block.ln_2(h)
    if adapter is None:
        return h + feed_forward(block.mlp, normed), None
    if style.place == "replace":
        base, inputs = h, {"ln": normed, "h": h}
    else:
        made = feed_forward(block.mlp, normed)
        base = h + made
        inputs = {"ln": normed, "h": h} if style.place == "parallel" else {"ln": made, "h": base}
    added, routing = adapter(inputs[style.reads], sequences)
    return base + added, routing


def adapted_blocks(
    blocks: Sequence[Any],
    adapters: Sequence[Adapter | None],
    tokens: Tensor,
    sequences: Sequences,
    style: Style,
    causal: bool = False,
    class_only: bool = False,
) -> tuple[Tensor, list[Routing]]:
    """Blocks in a row, `class_only` in the last: tokens after them, and the routings of their adapters.

    Frozen parts before the first adapter leave nothing for the backward pass: no input of theirs needs a
    gradient.
    """
    routings = []
    last = len(blocks) - 1
    for i, (block, adapter) in enumerate(zip(blocks, adapters, strict=True)):
        step = partial(
            adapted_block, block, adapter, style=style, causal=causal, class_only=class_only and i == last
        )
        tokens, routing = run_block_step(step, tokens, sequences)
        if routing is not None:
            routings.append(routing)
    return tokens, routings


@dataclass(frozen=True)
class EncodedSequence:
    """Projected tokens, and the routing of every adapted block over all b * T tokens (or b samples)."""

    tokens: Tensor  # (b, T, dim)
    routings: Sequence[Routing]
    ends: Tensor | None = None  # (b,) int64 place of the global token; None: the first


def encode_pictures(
    tower: ImageTower,
    adapters: Sequence[Adapter | None],
    images: Tensor,
    style: Style,
    class_only: int = 0,
    class_bias: Tensor | None = None,
) -> tuple[Tensor, EncodedSequence]:
    """(b, 3, H, W) -> the global vectors (c, dim) of the first c = `class_only` pictures, and of the others
    every token. The last block then computes for those c the class token alone, and its routing is of the
    others. `class_bias` (b, width) is added to the class tokens. No picture gives no row, yet with a (zero)
    gradient for every parameter: a rank may have none.
    """
    if not len(images):
        blank = images.new_zeros(1, *images.shape[1:])
        bias = None if class_bias is None else F.pad(class_bias, (0, 0, 0, 1))
        whole, found = encode_pictures(tower, adapters, blank, style, class_bias=bias)
        return whole, EncodedSequence(found.tokens[:0], [r[:0] for r in found.routings])
    tokens = tower.visual.ln_pre(tower.patchify(images, class_bias))
    blocks, plain = list(tower.blocks), Sequences()
    if not class_only:
        tokens, routings = adapted_blocks(blocks, adapters, tokens, plain, style)
        return tokens.new_zeros(0, tower.dim), EncodedSequence(tower.project(tokens), routings)
    tokens, routings = adapted_blocks(blocks[:-1], adapters[:-1], tokens, plain, style)
    ends = blocks[-1:], adapters[-1:]
    first, _ = adapted_blocks(*ends, tokens[:class_only], plain, style, class_only=True)
    whole = tower.project(first)[:, 0]
    if class_only == len(images):
        return whole, EncodedSequence(whole.new_zeros(0, 1, tower.dim), routings)
    rest, final = adapted_blocks(*ends, tokens[class_only:], plain, style)
    return whole, EncodedSequence(tower.project(rest), [*routings, *final])


def encode_sentences(
    tower: TextTower, adapters: Sequence[Adapter | None], ids: Tensor, style: Style
) -> EncodedSequence:
    """(b, L) ids -> every token up to the longest text; a text ends at its largest id, the end token.

    No text gives no row, yet with a (zero) gradient for every parameter.
    """
    if not len(ids):
        found = encode_sentences(tower, adapters, ids.new_zeros(1, 1), style)
        return EncodedSequence(found.tokens[:0], [r[:0] for r in found.routings], ids.new_zeros(0))
    ids = cut_to_longest(ids)
    ends = ids.argmax(dim=1)
    sequences = Sequences(ends, torch.arange(ids.shape[1], device=ids.device) <= ends[:, None], ids)
    x, routings = adapted_blocks(
        list(tower.blocks), adapters, tower.embed_ids(ids), sequences, style, causal=True
    )
    return EncodedSequence(tower.project(x), routings, ends)
