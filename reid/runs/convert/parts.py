"""Tensor names that the public tri-modal code bases share: CLIP tower, camera embedding, heads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from reid.errors import WeightsError
from reid.modality import Modality
from reid.runs.convert.base import TensorSource, flatten_table

TOWER = "image_tower.visual."
BLOCKS = TOWER + "transformer.resblocks."
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
INITIALS = {Modality.RGB: "R", Modality.NIR: "N", Modality.TIR: "T"}
_SPELLED = {
    **dict.fromkeys(("r", "rgb", "v", "vis"), Modality.RGB),
    **dict.fromkeys(("n", "ni", "nir"), Modality.NIR),
    **dict.fromkeys(("t", "ti", "th", "tir"), Modality.TIR),
}
_NUMBERED = ({"0", "1", "2"}, {"1", "2", "3"})


def weight_and_bias(ours: str, public: str) -> dict[str, TensorSource]:
    """Weight and bias of a layer."""
    return {f"{ours}.{part}": TensorSource(f"{public}.{part}") for part in ("weight", "bias")}


def tower_sources(ours: Collection[str], backbone: str) -> dict[str, TensorSource]:
    """The encoder, whose tensors have CLIP's names on both sides, and the cameras' vectors."""
    found = {
        name: TensorSource(f"{backbone}.base.{name.removeprefix(TOWER)}")
        for name in ours
        if name.startswith(TOWER)
    }
    return found | {"class_bias.camera": TensorSource(f"{backbone}.cv_embed", flatten_table)}


def tower_depth(ours: Collection[str]) -> int:
    """Blocks of the tower."""
    return len({name.removeprefix(BLOCKS).partition(".")[0] for name in ours if name.startswith(BLOCKS)})


def head_sources(ours: str, neck: str, classifier: str) -> dict[str, TensorSource]:
    """A batch norm and its classifier."""
    found = {f"heads.{ours}.norm.{part}": TensorSource(f"{neck}.{part}") for part in NORM}
    return found | {f"heads.{ours}.classifier.weight": TensorSource(f"{classifier}.weight")}


def identity_heads(
    ours: Collection[str], public: Collection[str], other: Collection[str] = ()
) -> tuple[dict[str, TensorSource], list[str]]:
    """The joint head, or one on each modality under any spelling of RGB, NIR, TIR; and hints if they differ.

    `other` are suffixes of heads that are something else. Raises WeightsError when a modality has two.
    """
    necks, classifiers = (_by_modality(public, stem, other) for stem in ("bottleneck", "classifier"))
    if any(name.startswith("heads.joint.") for name in ours):
        hint = "It has a head on each modality, as model.heads=each."
        return head_sources("joint", "bottleneck", "classifier"), [hint] if necks else []
    found: dict[str, TensorSource] = {}
    for modality, initial in INITIALS.items():
        suffix = f"_{initial.lower()}"
        neck = necks.get(modality, f"bottleneck{suffix}")
        found |= head_sources(modality.value, neck, classifiers.get(modality, f"classifier{suffix}"))
    hint = "It has one head on all modalities, as model.heads=joint."
    return found, [hint] if "bottleneck.weight" in public else []


def _by_modality(public: Collection[str], stem: str, other: Collection[str]) -> dict[Modality, str]:
    """Modality -> name of its layer; suffixes that mean nothing are left for others to complain about."""
    suffixes = sorted(set(_suffixes(public, stem)) - {"", *other})
    plain = {suffix: suffix.lower().strip("_.") for suffix in suffixes}
    spelled = _SPELLED
    if set(plain.values()) in _NUMBERED:
        spelled = dict(zip(sorted(plain.values()), INITIALS, strict=True))
    found: dict[Modality, str] = {}
    for suffix, name in plain.items():
        modality = spelled.get(name)
        if modality is None:
            continue
        if modality in found:
            raise WeightsError(
                f"Which is the head of {modality.value}: {found[modality]} or {stem}{suffix}? Remove one of "
                "them from the checkpoint."
            )
        found[modality] = stem + suffix
    return found


def _suffixes(public: Collection[str], stem: str) -> Iterator[str]:
    for key in public:
        if match := re.fullmatch(rf"{stem}(.*)\.(?:{'|'.join(NORM)})", key):
            yield match[1]
