"""Names of public MFRNet checkpoints (ICML 2025).

Their mixtures hold one set of weights for all "experts", which is copied to every expert where ours are
distinct: same outputs. In checkpoints of the released code it may be all zeros; see `remarks`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations

from reid.runs.convert.base import (
    IgnoredTensor,
    PublicSystem,
    State,
    TensorPlan,
    TensorSource,
    repeat_for_experts,
)
from reid.runs.convert.parts import INITIALS, identity_heads, tower_depth, tower_sources, weight_and_bias

BACKBONE = "BACKBONE"
BASE = f"{BACKBONE}.base"
BLOCKS = f"{BASE}.transformer.resblocks"
GENERATORS = ("gfmoe", "gfmoe_2")


def mixture(ours: str, public: str, down: str, up: str) -> dict[str, TensorSource]:
    """A router and its experts; `down` and `up` are the experts' public 1x1 convolutions."""
    scorer, gate = f"{ours}.router.scorer", f"{public}.gates.0"
    found = weight_and_bias(f"{scorer}.project", f"{gate}.cosine_projector")
    found[f"{scorer}.directions"] = TensorSource(f"{gate}.sim_matrix")
    found[f"{scorer}.log_scale"] = TensorSource(f"{gate}.temperature")  # a logarithm there, too
    for name, layer in (("down", down), ("up", up)):
        found[f"{ours}.experts.{name}"] = TensorSource(f"{public}.experts.{layer}.weight", repeat_for_experts)
        found[f"{ours}.experts.{name}_bias"] = TensorSource(
            f"{public}.experts.{layer}.bias", repeat_for_experts
        )
    return found


def plan(ours: Collection[str], public: Collection[str]) -> TensorPlan:
    """See `PublicSystem.plan`."""
    last = tower_depth(ours) - 1
    found = tower_sources(ours, BACKBONE)
    for i, name in enumerate(GENERATORS):
        found |= mixture(f"ffm.generators.{i}", f"{BASE}.{name}", "conv_1", "conv_2")
    for source, target in permutations(INITIALS, 2):
        direction = INITIALS[source] + INITIALS[target]
        found |= weight_and_bias(
            f"ffm.weights.{source.value}_to_{target.value}", f"{BASE}.glw_{direction}.0.lw"
        )
    found |= mixture(f"frm.{last}", f"{BLOCKS}.{last}.smoe", "conv_A", "conv_B")
    for modality in INITIALS:
        reduce = f"{modality.value}_reduce"
        found |= weight_and_bias(f"reduce.{modality.value}.norm", f"{reduce}.0")
        found |= weight_and_bias(f"reduce.{modality.value}.linear", f"{reduce}.1")
    heads, hints = identity_heads(ours, public)
    ignored = [
        IgnoredTensor(
            rf"BACKBONE\.base\.transformer\.resblocks\.(?!{last}\.)\d+\.smoe\..+",
            "unused mixtures: only the last block's acts",
        ),
        IgnoredTensor(r"BACKBONE\.base\..*moe(_2)?\._num_global_experts", "numbers of experts"),
    ]
    if f"frm.{last}.experts.down" in ours:
        why = "FRM replaces it; a single row needs it with model.official.bypass_single"
        ignored.append(IgnoredTensor(rf"BACKBONE\.base\.transformer\.resblocks\.{last}\.mlp\..+", why))
    if not any(key.startswith(f"{BASE}.gfmoe.") for key in public):
        hints.append("It has no generators (gfmoe): it may be of another system of this code line, as DeMo.")
    if any(name.startswith("reduce.") for name in ours) != ("rgb_reduce.0.weight" in public):
        hints.append("Reduction layers (RGBNT100 has them) are model.global_local.")
    return TensorPlan({**found, **heads}, ignored, hints)


def remarks(state: State) -> list[str]:
    """Whether the experts of the checkpoint do anything."""
    layers = (
        ".experts.conv_1.weight",
        ".experts.conv_2.weight",
        ".experts.conv_A.weight",
        ".experts.conv_B.weight",
    )
    used = max((k for k in state if k.startswith(BLOCKS) and ".smoe." in k), key=_block, default="")
    places = [f"{BASE}.{name}" for name in GENERATORS] + [used.partition(".smoe.")[0] + ".smoe"]
    dead: list[str] = []
    alive: list[str] = []
    for place in places:
        weights = [state[place + layer] for layer in layers if place + layer in state]
        if weights:
            short = place.removeprefix(f"{BASE}.").removeprefix("transformer.")
            (alive if any(bool(w.any()) for w in weights) else dead).append(short)
    if not dead:
        return ["The experts' weights are not zero."] if alive else []
    rest = f" ({', '.join(alive)}: not zero)" if alive else ""
    return [
        f"The experts' weights are ALL ZERO in {', '.join(dead)}{rest}, a known defect of the public code: "
        "these mixtures add a learned constant at most."
    ]


def _block(key: str) -> int:
    return int(key.removeprefix(f"{BLOCKS}.").partition(".")[0])


SYSTEM = PublicSystem("MFRNet", BACKBONE, "mfrnet/rgbnt201-official", plan, remarks)
