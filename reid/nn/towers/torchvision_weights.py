"""Weights of torchvision's architectures: by torchvision's name from this machine's caches, or a file.

Nothing is downloaded. A missing checkpoint is an error that names the three ways to supply it.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from reid import storage
from reid.config.typed import did_you_mean
from reid.errors import WeightsError
from reid.nn.towers.naming import our_names
from reid.storage.checkpoints import CACHE_ENV, FILES, State, read_state


def torchvision_state(spec: str, arch: str) -> State:
    """The state dict that `model.weights` names: a torchvision name (IMAGENET1K_V1), a path or an s3:// uri.

    A file may have the names of torchvision, timm or transformers.

    Raises WeightsError for an unknown name, naming the known ones, for a checkpoint that is not there, and
    for a file that is none.
    """
    if spec.startswith("run:"):
        raise WeightsError(
            f"weights {spec!r}: only a tower starts from a run's tower. To start {arch} from a run of its "
            "own, set model.weights=random and train.init_from to its folder."
        )
    if storage.is_remote(spec) or os.path.sep in spec or spec.endswith(FILES):
        if not storage.exists(spec):
            raise WeightsError(f"{spec}: no such weights file.{_remedies(arch, '<name>')}")
        return our_names(read_state(spec))
    path = _cached(spec, arch)
    if path is None:
        raise WeightsError(f"weights {spec!r} for {arch} are not on this machine.{_remedies(arch, spec)}")
    return our_names(read_state(path))


def _cached(name: str, arch: str) -> str | None:
    """A file of the weights folder, or of torch's hub cache."""
    from torchvision.models import get_model_weights

    known = {entry.name: entry.url for entry in get_model_weights(arch)}
    if name not in known:
        raise WeightsError(
            f"weights: {arch} has no torchvision weights {name!r}.{did_you_mean(name, list(known))}"
        )
    folder = os.environ.get(CACHE_ENV)
    if folder:
        for suffix in FILES:
            candidate = storage.join(folder, arch, name + suffix)
            if storage.exists(candidate):
                return candidate
    hub = Path(torch.hub.get_dir()) / "checkpoints" / str(known[name]).rpartition("/")[2]
    return str(hub) if hub.is_file() else None


def _remedies(arch: str, name: str) -> str:
    return (
        f" Three ways to supply it: (1) put it in a folder named by {CACHE_ENV} as {arch}/{name}.safetensors "
        "(or .pth), or under torchvision's own file name in the checkpoints folder of torch's hub cache "
        "(TORCH_HOME); (2) set model.weights to a local .pth or .safetensors path; (3) set it to an s3:// "
        "uri. model.weights=random starts from random weights."
    )
