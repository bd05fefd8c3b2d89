"""Names of public Signal checkpoints (AAAI 2026)."""

from __future__ import annotations

from collections.abc import Collection

from reid.runs.convert.base import IgnoredTensor, PublicSystem, TensorPlan, TensorSource, scalar
from reid.runs.convert.parts import INITIALS, head_sources, identity_heads, tower_sources, weight_and_bias

BACKBONE = "clip_vision_encoder"
INTERACTION = "_var"
"""Ends the names of the head on what interaction gives."""


def plan(ours: Collection[str], public: Collection[str]) -> TensorPlan:
    """See `PublicSystem.plan`."""
    found = tower_sources(ours, BACKBONE)
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        found |= weight_and_bias(f"sim.selection.{name}", f"SIM.token_selection.W_{letter}")
    inner = "SIM.modal_interactive"
    for part in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
        found[f"sim.attention.{part}"] = TensorSource(f"{inner}.cross_attn.{part}")
    for layer in ("ffn.0", "ffn.2", "norm1", "norm2"):
        found |= weight_and_bias(f"sim.{layer}", f"{inner}.{layer}")
    found["gam.temperature"] = TensorSource("AlignM.contra_temp", scalar)
    for modality, initial in INITIALS.items():
        sampler, das = f"lam.samplers.{modality.value}", f"AlignM.DAS_{initial.lower()}"
        found |= weight_and_bias(f"{sampler}.query", f"{das}.proj_q")
        for layer in ("0", "2", "4"):  # the last has no bias
            found |= weight_and_bias(f"{sampler}.offset.{layer}", f"{das}.conv_offset.{layer}")
    found |= head_sources("interaction", f"bottleneck{INTERACTION}", f"classifier{INTERACTION}")
    heads, hints = identity_heads(ours, public, other=[INTERACTION])
    ignored = []
    if "sim.selection.query.weight" in ours:
        ignored.append(IgnoredTensor(r"SIM\.token_selection\.W_v\.(weight|bias)", "nothing reads it"))
    if "gam.temperature" not in ours:
        ignored.append(IgnoredTensor(r"AlignM\.contra_temp", "of training; model.gam is off"))
    if "lam.samplers.rgb.query.weight" not in ours:
        ignored.append(IgnoredTensor(r"AlignM\.DAS_[rnt]\..+", "of training; model.lam is off"))
    return TensorPlan({**found, **heads}, ignored, hints)


SYSTEM = PublicSystem("Signal", BACKBONE, "signal/rgbnt201-official", plan)
