"""Encodes a batch's images and sentences with the adapted towers: one stream for each modality, and its
routing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid.data.batches.batch import Batch
from reid.modality import Modality
from reid.models.flexireid.adapted_tower import Adapter, Style, encode_pictures, encode_sentences
from reid.models.flexireid.streams import Stream
from reid.nn.moe.routing import Routing
from reid.nn.towers.clip import ImageTower, TextTower


@dataclass(frozen=True)
class AdapterUse:
    """How one layer of a tower routed the units of one stream on this rank."""

    tower: str
    layer: int
    stream: str
    routing: Routing
    valid: Tensor | None = None  # (S,) bool; None: no padding


def picture_streams(
    tower: ImageTower,
    adapters: nn.ModuleList,
    batch: Batch,
    modalities: Sequence[Modality],
    style: Style,
    short: Sequence[Modality] = (),
    class_bias: Tensor | None = None,
) -> tuple[dict[Modality, Stream], list[AdapterUse]]:
    """Encode all images of these modalities in one pass.

    Modalities in `short` must come first; only their global vectors are computed, and then no routing is
    returned. `adapters`: one for each block, or none at all. `class_bias` (images, width) is added to the
    class tokens.
    """
    sizes = {m: len(batch.index[m]) for m in modalities}
    images = torch.cat([batch.images[m] for m in modalities])
    cut = sum(sizes[m] for m in short)
    each_block: list[Adapter | None] = list(adapters) or [None] * len(tower.blocks)
    whole, found = encode_pictures(tower, each_block, images, style, cut, class_bias)
    streams = {}
    start = 0
    for m, size in sizes.items():
        if m in short:
            own = whole[start : start + size]
            streams[m] = Stream(batch.index[m], own, own[:, None])
        else:
            tokens = found.tokens[start - cut : start - cut + size]
            streams[m] = Stream(batch.index[m], tokens[:, 0], tokens)
        start += size
    uses: list[AdapterUse] = []
    for layer, routing in enumerate([] if short else found.routings):
        each, start = len(routing.gates) // max(1, sum(sizes.values())), 0
        for m, size in sizes.items():
            uses.append(AdapterUse("image", layer, m.value, routing[start : start + size * each]))
            start += size * each
    return streams, uses


def sentence_stream(
    tower: TextTower, adapters: nn.ModuleList, batch: Batch, style: Style
) -> tuple[Stream, list[AdapterUse]]:
    """Encode the batch's texts: the global vector is the end token's; later positions are padding."""
    assert batch.tokens is not None
    found = encode_sentences(tower, list(adapters) or [None] * len(tower.blocks), batch.tokens, style)
    assert found.ends is not None
    place = torch.arange(found.tokens.shape[1], device=found.ends.device)
    ignored = place > found.ends[:, None]
    whole = found.tokens[torch.arange(len(ignored), device=ignored.device), found.ends]
    uses = []
    for layer, routing in enumerate(found.routings):
        valid = ~ignored.flatten() if len(routing.gates) == ignored.numel() else None
        uses.append(AdapterUse("text", layer, "text", routing, valid))
    return Stream(batch.index[Modality.TEXT], whole, found.tokens, ignored), uses
