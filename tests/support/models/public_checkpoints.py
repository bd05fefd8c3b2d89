"""Public checkpoints of tiny models, under names written down by hand and not by asking the converter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reid.config import Config, load
from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.modality import CAMERA, ORDER
from reid.models import mfrnet, signal
from reid.models.base import ModelContext, ReIDModel
from reid.nn.moe.layer import MoE

CLASSES, CAMERAS, HEIGHT, WIDTH = 5, 3, 32, 16
CONTEXT = ModelContext(CLASSES, CAMERAS, HEIGHT, WIDTH, CAMERA)
TOWER = {"arch": None, "patch": 8, "width": 32, "layers": 3, "heads": 2, "dim": 16}
ROUTER = {"score": "cosine", "noise": 1.0, "dim": 8}
MFRNET: dict[str, Any] = {
    "tower": TOWER,
    "ffm": {"hidden": 12, "shared": True, "capacity": 1.0, "router": ROUTER},
    "frm": {"hidden": 10, "shared": True, "capacity": 1.0, "router": ROUTER},
    "official": {"bypass_single": True, "raw_alone": True},
}
"""Fields of the model section that make a tiny MFRNet with the switches of the -official preset."""
SIGNAL: dict[str, Any] = {
    "tower": {**TOWER, "patch": 4},
    "sim": {"k1": 10, "heads": 4, "hidden": 24, "projections": "learned"},
    "gam": {"floor": 0, "epsilon": 0},
}
State = dict[str, Tensor]
Net = TypeVar("Net", bound=ReIDModel)


def tiny_mfrnet(seed: int = 1, **fields: Any) -> mfrnet.Model:
    """With every tensor drawn at random."""
    section = check(mfrnet.Config, merged(MFRNET, fields), "model")
    return drawn(mfrnet.Model(section, CONTEXT), seed)


def tiny_signal(seed: int = 1, **fields: Any) -> signal.Model:
    """With every tensor drawn at random."""
    section = check(signal.Config, merged(SIGNAL, fields), "model")
    return drawn(signal.Model(section, CONTEXT), seed)


def merged(base: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged, so that `frm={"shared": False}` keeps the tiny sizes."""
    return base | {k: base.get(k, {}) | v if isinstance(v, dict) else v for k, v in fields.items()}


def drawn(model: Net, seed: int) -> Net:
    """Fill every tensor from a seed, so that one in a wrong place shows."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=draw) * 0.6 - 0.2)
    return model.eval()


def batch(rows: int = 4, missing: Sequence[int] = (), seed: int = 3) -> Batch:
    """Captures of CAMERA by different cameras; `missing` rows have no thermal image."""
    draw = torch.Generator().manual_seed(seed)
    present = torch.tensor([[m in CAMERA for m in ORDER]] * rows)
    present[list(missing), ORDER.index(CAMERA[2])] = False
    index = {m: present[:, ORDER.index(m)].nonzero()[:, 0] for m in CAMERA}
    return Batch(
        pid=torch.zeros(rows, dtype=torch.int64),
        present=present,
        camid=(torch.arange(rows) % CAMERAS)[:, None].expand(rows, len(ORDER)),
        viewid=torch.full((rows, len(ORDER)), -1),
        images={m: torch.randn(rows, 3, HEIGHT, WIDTH, generator=draw)[index[m]] for m in CAMERA},
        index=index,
    )


@torch.inference_mode()
def embed(model: ReIDModel, given: Batch) -> Tensor:
    """In evaluation mode."""
    return model.eval().embed(given, "query")


def config_of(name: str, fields: dict[str, Any], workdir: Path, *overrides: str) -> Config:
    """The whole configuration around a model section; nothing is built for it."""
    tree = {
        "name": f"tiny-{name}",
        "workdir": str(workdir),
        "data": {
            "name": "tiny",
            "reader": {"name": "synthetic"},
            "modalities": "rgb+nir+tir",
            "height": HEIGHT,
            "width": WIDTH,
        },
        "model": {"name": name, **fields},
    }
    return load(tree, overrides)


def saved(state: State, path: Path) -> str:
    """In the format of the suffix."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def layer(name: str, module: Any) -> State:
    """Weight and bias."""
    return {f"{name}.weight": module.weight, f"{name}.bias": module.bias}


def _encoder(name: str, model: Any) -> State:
    visual = model.image_tower.visual
    state = {
        f"{name}.cv_embed": model.class_bias.camera[:, None],
        f"{name}.base.class_embedding": visual.class_embedding,
        f"{name}.base.positional_embedding": visual.positional_embedding,
        f"{name}.base.proj": visual.proj,
        f"{name}.base.conv1.weight": visual.conv1.weight,
        **layer(f"{name}.base.ln_pre", visual.ln_pre),
        **layer(f"{name}.base.ln_post", visual.ln_post),
    }
    for i, block in enumerate(visual.transformer.resblocks):
        place = f"{name}.base.transformer.resblocks.{i}"
        state |= {
            f"{place}.attn.in_proj_weight": block.attn.in_proj_weight,
            f"{place}.attn.in_proj_bias": block.attn.in_proj_bias,
            **layer(f"{place}.attn.out_proj", block.attn.out_proj),
            **layer(f"{place}.ln_1", block.ln_1),
            **layer(f"{place}.ln_2", block.ln_2),
        }
        if isinstance(block.mlp, nn.Identity):  # public code keeps it, unused
            width = len(visual.class_embedding)
            spare = {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
            state |= layer(f"{place}.mlp.c_fc", spare["c_fc"]) | layer(f"{place}.mlp.c_proj", spare["c_proj"])
        else:
            state |= layer(f"{place}.mlp.c_fc", block.mlp.c_fc)
            state |= layer(f"{place}.mlp.c_proj", block.mlp.c_proj)
    return state


def _mixture(name: str, moe: Any, down: str, up: str) -> State:
    """With the one set of expert weights that public code has, as convolutions."""
    experts, scorer = moe.experts, moe.router.scorer
    return {
        f"{name}.experts.{down}.weight": experts.down[0][..., None],
        f"{name}.experts.{down}.bias": experts.down_bias[0],
        f"{name}.experts.{up}.weight": experts.up[0][..., None],
        f"{name}.experts.{up}.bias": experts.up_bias[0],
        f"{name}.gates.0.temperature": scorer.log_scale,
        f"{name}.gates.0.sim_matrix": scorer.directions,
        **layer(f"{name}.gates.0.cosine_projector", scorer.project),
    }


def _head(neck: str, classifier: str, head: Any) -> State:
    return {
        **layer(neck, head.norm),
        f"{neck}.running_mean": head.norm.running_mean,
        f"{neck}.running_var": head.norm.running_var,
        f"{neck}.num_batches_tracked": head.norm.num_batches_tracked,
        f"{classifier}.weight": head.classifier.weight,
    }


def _heads(model: Any, suffixes: Sequence[str]) -> State:
    if "joint" in model.heads:
        return _head("bottleneck", "classifier", model.heads["joint"])
    state: State = {}
    for name, suffix in zip(("rgb", "nir", "tir"), suffixes, strict=True):
        state |= _head(f"bottleneck{suffix}", f"classifier{suffix}", model.heads[name])
    return state


def public_mfrnet(model: mfrnet.Model, suffixes: Sequence[str] = ("_r", "_n", "_t")) -> State:
    """What the public code would save of a model with shared experts."""
    net: Any = model
    state = _encoder("BACKBONE", net)
    base = "BACKBONE.base"
    state |= _mixture(f"{base}.gfmoe", net.ffm.generators[0], "conv_1", "conv_2")
    state |= _mixture(f"{base}.gfmoe_2", net.ffm.generators[1], "conv_1", "conv_2")
    state |= layer(f"{base}.glw_NR.0.lw", net.ffm.weights["nir_to_rgb"])
    state |= layer(f"{base}.glw_TR.0.lw", net.ffm.weights["tir_to_rgb"])
    state |= layer(f"{base}.glw_RN.0.lw", net.ffm.weights["rgb_to_nir"])
    state |= layer(f"{base}.glw_TN.0.lw", net.ffm.weights["tir_to_nir"])
    state |= layer(f"{base}.glw_RT.0.lw", net.ffm.weights["rgb_to_tir"])
    state |= layer(f"{base}.glw_NT.0.lw", net.ffm.weights["nir_to_tir"])
    last = len(net.image_tower.blocks) - 1
    for i in range(last + 1):  # every block has a mixture; only the last one's is used
        place = f"{base}.transformer.resblocks.{i}.smoe"
        moe: MoE = net.frm[str(last)]
        unused = {k: torch.full_like(v, 7.0) for k, v in _mixture(place, moe, "conv_A", "conv_B").items()}
        state |= _mixture(place, moe, "conv_A", "conv_B") if i == last else unused
        state[f"{place}._num_global_experts"] = torch.tensor(moe.experts.count)
    if net.reduce is not None:
        for name in ("rgb", "nir", "tir"):
            state |= layer(f"{name}_reduce.0", net.reduce[name].norm)
            state |= layer(f"{name}_reduce.1", net.reduce[name].linear)
    return _copied(state | _heads(net, suffixes))


def public_signal(model: signal.Model, suffixes: Sequence[str] = ("_r", "_n", "_t")) -> State:
    """What the public code would save of a model with learned projections."""
    net: Any = model
    state = _encoder("clip_vision_encoder", net)
    state |= layer("SIM.token_selection.W_q", net.sim.selection.query)
    state |= layer("SIM.token_selection.W_k", net.sim.selection.key)
    state |= layer("SIM.token_selection.W_v", net.sim.selection.value)
    place = "SIM.modal_interactive"
    state |= {
        f"{place}.cross_attn.in_proj_weight": net.sim.attention.in_proj_weight,
        f"{place}.cross_attn.in_proj_bias": net.sim.attention.in_proj_bias,
        **layer(f"{place}.cross_attn.out_proj", net.sim.attention.out_proj),
        **layer(f"{place}.ffn.0", net.sim.ffn[0]),
        **layer(f"{place}.ffn.2", net.sim.ffn[2]),
        **layer(f"{place}.norm1", net.sim.norm1),
        **layer(f"{place}.norm2", net.sim.norm2),
        "AlignM.contra_temp": net.gam.temperature,
    }
    for name, letter in (("rgb", "r"), ("nir", "n"), ("tir", "t")):
        sampler = net.lam.samplers[name]
        state |= layer(f"AlignM.DAS_{letter}.proj_q", sampler.query)
        state |= layer(f"AlignM.DAS_{letter}.conv_offset.0", sampler.offset[0])
        state |= layer(f"AlignM.DAS_{letter}.conv_offset.2", sampler.offset[2])
        state[f"AlignM.DAS_{letter}.conv_offset.4.weight"] = sampler.offset[4].weight
    state |= _head("bottleneck_var", "classifier_var", net.heads["interaction"])
    return _copied(state | _heads(net, suffixes))


def _copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def blocks_expanded(names: Sequence[str], blocks: int) -> list[str]:
    """Names with {block} -> one a block."""
    return [n.replace("{block}", str(i)) for n in names for i in range(blocks if "{block}" in n else 1)]
