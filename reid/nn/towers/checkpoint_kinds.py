"""Which network a state dict is of, by the names and shapes in it: for errors that say what a file holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
_OPEN_CLIP = {
    (32, 768, 12): "ViT-B-32",
    (16, 768, 12): "ViT-B-16",
    (14, 1024, 24): "ViT-L-14",
    (14, 1280, 32): "ViT-H-14",
    (14, 1408, 40): "ViT-g-14",
}
"""Patch, width and blocks of an image tower -> open_clip's name."""
_RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
"""Three convolutions a block, blocks of each stage -> torchvision's name."""


def describe_state(state: State) -> str:
    """What a state dict is of, as an object of a sentence.

    >>> import torch
    >>> describe_state({"conv_proj.weight": torch.ones(768, 3, 16, 16)})
    "torchvision's vision transformer (patch 16, width 768, 0 blocks)"
    >>> describe_state({"fc.weight": torch.ones(2, 2)})
    "1 tensors of an unknown network (first 'fc.weight')"
    """
    for key, describe in _KINDS.items():
        if any(name == key or (key.endswith(".") and name.startswith(key)) for name in state):
            try:
                return describe(state)
            except (LookupError, ValueError):  # only a part of such a network
                break
    first = f" (first {next(iter(state))!r})" if state else ""
    return f"{len(state)} tensors of an unknown network{first}"


def count_blocks(state: State, before: str) -> int:
    """How many numbered blocks have names that begin with `before`.

    >>> import torch
    >>> count_blocks({"blocks.0.weight": torch.ones(1), "blocks.1.weight": torch.ones(1)}, "blocks.")
    2
    """
    numbered = (re.match(rf"{re.escape(before)}(\d+)\.", name) for name in state)
    return len({match[1] for match in numbered if match})


def _open_clip(state: State) -> str:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    blocks = count_blocks(state, "visual.transformer.resblocks.")
    dim = f", dim {state['visual.proj'].shape[1]}" if "visual.proj" in state else ""
    like = _OPEN_CLIP.get((patch, width, blocks))
    known = f", as {like}" if like else ""
    return f"a CLIP of open_clip's names (patch {patch}, width {width}, {blocks} blocks{dim}{known})"


def _vit(library: str, patches: str, blocks: str) -> Callable[[State], str]:
    def describe(state: State) -> str:
        width, _, _, patch = state[patches].shape
        return f"{library} (patch {patch}, width {width}, {count_blocks(state, blocks)} blocks)"

    return describe


def _resnet(state: State) -> str:
    blocks = tuple(count_blocks(state, f"layer{stage}.") for stage in (1, 2, 3, 4))
    like = _RESNETS.get(("layer1.0.conv3.weight" in state, blocks))
    known = f" ({like})" if like else f" with {'-'.join(map(str, blocks))} blocks"
    return f"a ResNet of torchvision's names{known}"


def _plain(text: str) -> Callable[[State], str]:
    return lambda state: text


_FOLDER = "which is loaded from the folder that save_pretrained wrote, not from one file of it"
_KINDS: dict[str, Callable[[State], str]] = {
    "visual.class_embedding": _open_clip,
    "visual.layer1.": _plain("a CLIP with a ResNet, which has no tower here"),
    "visual.trunk.": _plain("a CLIP with a tower of timm's (EVA, SigLIP), which has no counterpart here"),
    "vision_model.embeddings.class_embedding": _vit(
        "transformers' CLIPModel",
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.encoder.layers.",
    ),
    "vision_model.embeddings.patch_embedding.weight": _plain(
        "a SigLIP of transformers' names, which has no counterpart here"
    ),
    "shared_image_embedding.": _plain(f"transformers' SamModel, {_FOLDER}"),
    "image_encoder.patch_embed.proj.weight": _vit(
        "segment-anything's SAM", "image_encoder.patch_embed.proj.weight", "image_encoder.blocks."
    ),
    "image_encoder.trunk.": _plain("SAM 2 in its own library's names; take transformers' Sam2Model instead"),
    "text_decoder.": _plain(f"transformers' BLIP, {_FOLDER}"),
    "vision_model.": _plain(
        "a network of Hugging Face's way of naming (vision_model.…) that is no CLIPModel of transformers; "
        "save it under open_clip's names"
    ),
    "text_model.": _plain("only a text tower of Hugging Face's names"),
    "conv_proj.weight": _vit(
        "torchvision's vision transformer", "conv_proj.weight", "encoder.layers.encoder_layer_"
    ),
    "patch_embed.proj.weight": _vit(
        "a vision transformer of timm's names", "patch_embed.proj.weight", "blocks."
    ),
    "layer1.0.conv1.weight": _resnet,
    "dblock_3.": _plain("the edge network TEED"),
    "image_tower.": _plain(
        "a model of a run of this program (model.weights=run:<its folder> takes its towers)"
    ),
    "BACKBONE.": _plain("a public MFRNet or Signal; python -m jobs.convert makes a run of it"),
    "transformer.resblocks.": _plain("only a text tower of CLIP"),
}
"""A tensor's name, or with a last dot the beginning of one -> what has it; the first that fits."""
