"""Loads a tower's weights: random, an open_clip tag, a file or an own run; never silently another one."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from reid import storage
from reid.config import load
from reid.errors import WeightsError
from reid.nn.towers.clip import (
    ImageTower,
    ImageTowerConfig,
    TextTower,
    resize_positions,
    resolved_image_config,
)
from reid.nn.towers.filling import check_blocks, fill
from reid.nn.towers.naming import our_names
from reid.storage.checkpoints import CACHE_ENV, FILES, State, read_state
from reid.storage.run_files import RunFiles

_BLOCKS = "transformer.resblocks."


def load_tower_weights(spec: str, image: ImageTower | None, text: TextTower | None, arch: str | None) -> None:
    """Fill the towers from `spec`: random | <open_clip tag> | <path or s3://> | run:<run folder>.

    A file may have open_clip's names or those of transformers' CLIPModel; `read_state` opens it.

    Raises WeightsError naming the three remedies when a checkpoint is not there, naming the tensor and what
    the file holds when it does not fit, and naming the file as what it is when it is no checkpoint.
    """
    if spec == "random":
        return
    if spec.startswith("run:"):
        state, grid = _run_state(spec.removeprefix("run:"))
        image_prefix, text_prefix = "image_tower.visual.", "text_tower.text."
    else:
        state, grid = _clip_state(spec, arch), None
        image_prefix, text_prefix = "visual.", ""
    if image is not None:
        check_blocks(state, f"{image_prefix}{_BLOCKS}", len(image.blocks), spec, "the image tower")
        part = {k.removeprefix(image_prefix): v for k, v in state.items() if k.startswith(image_prefix)}
        key = "positional_embedding"
        if key in part:
            part[key] = fitted_positions(part[key], image.grid, spec, grid)
        fill(image.visual, part, spec, "the image tower", state)
    if text is not None:
        check_blocks(state, f"{text_prefix}{_BLOCKS}", len(text.blocks), spec, "the text tower")
        wanted = text.text.state_dict()
        part = {k: state[text_prefix + k] for k in wanted if text_prefix + k in state}
        fill(text.text, part, spec, "the text tower", state)


def fitted_positions(
    table: Tensor, grid: tuple[int, int], spec: str, source: tuple[int, int] | None = None
) -> Tensor:
    """`resize_positions` of a checkpoint's table; the WeightsError names the checkpoint."""
    try:
        return resize_positions(table, grid, source)
    except WeightsError as error:
        raise WeightsError(f"weights {spec!r}: {error}") from None


def _run_state(run: str) -> tuple[State, tuple[int, int]]:
    folder = RunFiles.find(run)
    config = load(folder.config_tree())
    tower = getattr(config.model, "tower", None)
    if not isinstance(tower, ImageTowerConfig):
        raise WeightsError(f"weights 'run:{run}': a {config.model.name} run has no CLIP image tower.")
    patch = resolved_image_config(tower).patch
    return folder.weights(), (config.data.height // patch, config.data.width // patch)


def _clip_state(spec: str, arch: str | None) -> State:
    if storage.is_remote(spec) or os.path.sep in spec or spec.endswith(FILES):
        if not storage.exists(spec):
            raise WeightsError(f"{spec}: no such weights file.{_remedies(spec, arch)}")
        return our_names(read_state(spec))
    if arch is None:
        raise WeightsError(f"weights {spec!r}: pretrained tags need model.tower.arch, not explicit sizes.")
    path = _cached(arch, spec)
    if path is None:
        raise WeightsError(f"weights {spec!r} for {arch} are not on this machine.{_remedies(spec, arch)}")
    return our_names(read_state(path))


def _cached(arch: str, tag: str) -> str | None:
    """A file of the weights folder, or of the Hugging Face cache; nothing is downloaded."""
    folder = os.environ.get(CACHE_ENV)
    if folder:
        for suffix in FILES:
            candidate = storage.join(folder, arch, tag + suffix)
            if storage.exists(candidate):
                return candidate
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    card = open_clip.get_pretrained_cfg(arch, tag)
    if not card:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(arch)) or "none"
        raise WeightsError(f"weights: {arch} has no open_clip tag {tag!r}. Known: {tags}.")
    repo = str(card.get("hf_hub") or "").strip("/")
    for name in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        hit = try_to_load_from_cache(repo, name) if repo else None
        if isinstance(hit, str) and Path(hit).is_file():
            return hit
    return None


def _remedies(spec: str, arch: str | None) -> str:
    return (
        f" Three ways to supply it: (1) put it in a folder named by {CACHE_ENV} as "
        f"{arch or '<arch>'}/{spec if os.path.sep not in spec else '<tag>'}.safetensors, or fill the Hugging "
        "Face cache; (2) set model.weights to a local .safetensors path; (3) set it to an s3:// uri. "
        "model.weights=random starts from random weights."
    )
