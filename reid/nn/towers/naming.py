"""Names of tensors in other libraries' towers -> the names of open_clip and torchvision, which ours have.

The tensors stay as they are, but that separate projections of attention are joined, and that what others
multiply from the other side is transposed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reid.storage.checkpoints import State

_JOIN = "#"
"""In a new name: the tensors before this sign are joined in the order of what follows it."""
_ENDS = r"\.(weight|bias)"


@dataclass(frozen=True)
class Naming:
    """What a library calls a tower's tensors: one that it never lacks, and rules from its names to ours."""

    title: str
    mark: str
    rules: tuple[tuple[str, str], ...]
    transposed: frozenset[str] = frozenset()
    unless: str = "$^"
    """What only a network of another arithmetic has: a regular expression of parts of names."""

    def matches(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a state dict has these names."""
        return self.mark in state and not any(re.search(self.unless, name) for name in state)

    def rename(self, state: Mapping[str, Tensor]) -> State:
        """The tensors that a rule covers under our names, and the others under theirs."""
        found: State = {}
        joined: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in state.items():
            ours = self._ours(name)
            plain, _, place = ours.partition(_JOIN)
            if place:
                joined[plain][place] = tensor
            else:
                found[plain] = tensor.T if ours in self.transposed else tensor
        return found | {name: torch.cat([parts[p] for p in sorted(parts)]) for name, parts in joined.items()}

    def _ours(self, name: str) -> str:
        for pattern, ours in self.rules:
            if match := re.fullmatch(pattern, name):
                return match.expand(ours)
        return name


def _attention(layer: str, ours: str, names: tuple[str, str, str], into: str) -> list[tuple[str, str]]:
    """Rules that join query, key and value; `layer` has one group, the block's number."""
    return [
        (rf"{layer}\.{name}\.(weight|bias)", rf"{ours}.{into}.in_proj_\2{_JOIN}{place}")
        for place, name in enumerate(names)
    ]


def _clip_blocks(tower: str, ours: str) -> list[tuple[str, str]]:
    layer = rf"{tower}\.encoder\.layers\.(\d+)"
    block = rf"{ours}transformer.resblocks.\1"
    return [
        *_attention(rf"{layer}\.self_attn", block, ("q_proj", "k_proj", "v_proj"), "attn"),
        (rf"{layer}\.self_attn\.out_proj{_ENDS}", rf"{block}.attn.out_proj.\2"),
        (rf"{layer}\.layer_norm([12]){_ENDS}", rf"{block}.ln_\2.\3"),
        (rf"{layer}\.mlp\.fc1{_ENDS}", rf"{block}.mlp.c_fc.\2"),
        (rf"{layer}\.mlp\.fc2{_ENDS}", rf"{block}.mlp.c_proj.\2"),
    ]


TRANSFORMERS_CLIP = Naming(
    "transformers' CLIPModel",
    "vision_model.embeddings.class_embedding",
    (
        (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
        (r"vision_model\.embeddings\.patch_embedding\.weight", "visual.conv1.weight"),
        (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
        (rf"vision_model\.pre_layrnorm{_ENDS}", r"visual.ln_pre.\1"),
        (rf"vision_model\.post_layernorm{_ENDS}", r"visual.ln_post.\1"),
        (r"visual_projection\.weight", "visual.proj"),
        (r"text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
        (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
        (rf"text_model\.final_layer_norm{_ENDS}", r"ln_final.\1"),
        (r"text_projection\.weight", "text_projection"),
        *_clip_blocks("vision_model", "visual."),
        *_clip_blocks("text_model", ""),
    ),
    frozenset({"visual.proj", "text_projection"}),
)

OPEN_CLIP_CUSTOM_TEXT = Naming(
    "open_clip with a text tower of its own",
    "text.token_embedding.weight",
    ((r"text\.(.+)", r"\1"),),
)

_OTHER_VIT = r"\.ls[12]\.|layer_scale|lambda_?1|register_tokens|dist|[qk]_norm|norm_pre|fc_norm|rope"
"""Layer scale, registers, distillation and the like: DINOv2, DeiT, EVA."""
_VIT_BLOCK = r"encoder.layers.encoder_layer_\1"


def _transformers_vit(prefix: str) -> Naming:
    """Both spellings of the library: that of its files, and that of its modules since version 5."""
    old, new = r"(?:vit\.)?encoder\.layer\.(\d+)", r"(?:vit\.)?layers\.(\d+)"
    either = r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)"
    separate = ("query", "key", "value"), ("q_proj", "k_proj", "v_proj")
    return Naming(
        "transformers' ViTModel",
        f"{prefix}embeddings.cls_token",
        (
            (r"(?:vit\.)?embeddings\.cls_token", "class_token"),
            (r"(?:vit\.)?embeddings\.position_embeddings", "encoder.pos_embedding"),
            (rf"(?:vit\.)?embeddings\.patch_embeddings\.projection{_ENDS}", r"conv_proj.\1"),
            (rf"(?:vit\.)?layernorm{_ENDS}", r"encoder.ln.\1"),
            *_attention(rf"{old}\.attention\.attention", _VIT_BLOCK, separate[0], "self_attention"),
            *_attention(rf"{new}\.attention", _VIT_BLOCK, separate[1], "self_attention"),
            (rf"{old}\.attention\.output\.dense{_ENDS}", rf"{_VIT_BLOCK}.self_attention.out_proj.\2"),
            (rf"{new}\.attention\.o_proj{_ENDS}", rf"{_VIT_BLOCK}.self_attention.out_proj.\2"),
            (rf"{either}\.layernorm_before{_ENDS}", rf"{_VIT_BLOCK}.ln_1.\2"),
            (rf"{either}\.layernorm_after{_ENDS}", rf"{_VIT_BLOCK}.ln_2.\2"),
            (rf"{old}\.intermediate\.dense{_ENDS}", rf"{_VIT_BLOCK}.mlp.0.\2"),
            (rf"{new}\.mlp\.fc1{_ENDS}", rf"{_VIT_BLOCK}.mlp.0.\2"),
            (rf"{old}\.output\.dense{_ENDS}", rf"{_VIT_BLOCK}.mlp.3.\2"),
            (rf"{new}\.mlp\.fc2{_ENDS}", rf"{_VIT_BLOCK}.mlp.3.\2"),
        ),
        unless=_OTHER_VIT,
    )


TIMM_VIT = Naming(
    "timm's vision transformer",
    "patch_embed.proj.weight",
    (
        ("cls_token", "class_token"),
        ("pos_embed", "encoder.pos_embedding"),
        (rf"patch_embed\.proj{_ENDS}", r"conv_proj.\1"),
        (rf"norm{_ENDS}", r"encoder.ln.\1"),
        (rf"blocks\.(\d+)\.attn\.qkv{_ENDS}", rf"{_VIT_BLOCK}.self_attention.in_proj_\2"),
        (rf"blocks\.(\d+)\.attn\.proj{_ENDS}", rf"{_VIT_BLOCK}.self_attention.out_proj.\2"),
        (rf"blocks\.(\d+)\.norm([12]){_ENDS}", rf"{_VIT_BLOCK}.ln_\2.\3"),
        (rf"blocks\.(\d+)\.mlp\.fc1{_ENDS}", rf"{_VIT_BLOCK}.mlp.0.\2"),
        (rf"blocks\.(\d+)\.mlp\.fc2{_ENDS}", rf"{_VIT_BLOCK}.mlp.3.\2"),
    ),
    unless=_OTHER_VIT,
)

_STAGE = r"(?:resnet\.)?encoder\.stages\.{}\.layers\.(\d+)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def _resnet_rules() -> tuple[tuple[str, str], ...]:
    stem = r"(?:resnet\.)?embedder\.embedder"
    rules = [
        (rf"{stem}\.convolution\.weight", "conv1.weight"),
        (rf"{stem}\.normalization\.{_NORM}", r"bn1.\1"),
    ]
    for stage in range(4):
        block = _STAGE.format(stage)
        ours = rf"layer{stage + 1}.\1"
        rules.append((rf"{block}\.shortcut\.convolution\.weight", rf"{ours}.downsample.0.weight"))
        rules.append((rf"{block}\.shortcut\.normalization\.{_NORM}", rf"{ours}.downsample.1.\2"))
        for place in range(3):
            inner = rf"{block}\.layer\.{place}"
            rules.append((rf"{inner}\.convolution\.weight", rf"{ours}.conv{place + 1}.weight"))
            rules.append((rf"{inner}\.normalization\.{_NORM}", rf"{ours}.bn{place + 1}.\2"))
    return tuple(rules)


def _transformers_resnet(prefix: str) -> Naming:
    return Naming(
        "transformers' ResNetModel", f"{prefix}embedder.embedder.convolution.weight", _resnet_rules()
    )


NAMINGS = (
    TRANSFORMERS_CLIP,
    OPEN_CLIP_CUSTOM_TEXT,
    _transformers_vit(""),
    _transformers_vit("vit."),
    TIMM_VIT,
    _transformers_resnet(""),
    _transformers_resnet("resnet."),
)


def our_names(state: State) -> State:
    """A tower's state dict under the names of open_clip and torchvision, if another library's are known.

    >>> import torch
    >>> ours = our_names({"vision_model.embeddings.class_embedding": torch.ones(8)})
    >>> list(ours)
    ['visual.class_embedding']
    """
    for naming in NAMINGS:
        if naming.matches(state):
            return naming.rename(state)
    return state
