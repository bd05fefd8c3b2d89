"""Opens files of weights: tensors by name, whatever wraps them, or an error that says what the file is.

Everything that loads weights which somebody else wrote comes here. What a file is, its content decides, not
its suffix. Nothing is unpickled but tensors, numbers, texts and their containers.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from reid.errors import WeightsError
from reid.storage.file_kinds import is_safetensors, why_no_weights
from reid.storage.files import read_bytes

State = dict[str, Tensor]
CACHE_ENV = "ANYREID_WEIGHTS"
"""The variable that names a folder of weights."""
FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pth.tar")
"""How files of weights are called."""
CONTAINERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
"""Under what a training script keeps the weights beside its epoch and optimiser; the first one wins."""
_WRAPPERS = {*CONTAINERS, "_forward_module"}
"""First parts of a name that only say what wrapped the network."""
_INNER_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a name that compiled and sharded layers add, at any place."""
_SHOWN = 5


def read_state(uri: str) -> State:
    """The weights in a file, .safetensors or what torch.save writes, by the names of the network's layers.

    Containers of training scripts (`CONTAINERS`, lists with one of them) are opened; what DataParallel,
    torch.compile and wrapping classes put before names (`module.`, `_orig_mod.`, `model.`) is removed.

    Raises WeightsError for every other file, named as what it is, and for NaN or infinity in a tensor;
    StorageError for a missing file.

    >>> torch.save({"epoch": 3, "model": {"module._orig_mod.fc.weight": torch.ones(2, 2)}}, "net.pt")
    >>> list(read_state("net.pt"))
    ['fc.weight']
    """
    return _check_finite(plain_names(_find_state(read_tree(uri), uri)), uri)


def read_exact(uri: str, data: bytes | None = None) -> State:
    """The tensors of a file that this program wrote: every name as it stands.

    `data` are its bytes, if they are at hand. Raises as `read_state`.

    >>> torch.save({"model.weight": torch.ones(2)}, "exact.pt")
    >>> list(read_exact("exact.pt")), list(read_state("exact.pt"))
    (['model.weight'], ['weight'])
    """
    return _check_finite(_find_state(read_tree(uri, data), uri), uri)


def read_tree(uri: str, data: bytes | None = None) -> Any:
    """What is in a file of weights or of a training state; `data` are its bytes, if they are at hand.

    Raises WeightsError for a file that is something else, StorageError for a missing one.

    >>> torch.save({"epoch": 3}, "state.pt")
    >>> read_tree("state.pt")
    {'epoch': 3}
    """
    data = read_bytes(uri) if data is None else data
    if why := why_no_weights(data):
        raise WeightsError(f"{uri}: {why}")
    try:
        if is_safetensors(data):
            return load_safetensors(data)
        with warnings.catch_warnings(action="ignore"):  # of formats; what cannot be read is told below
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{uri}: a damaged .safetensors file ({error}). Get it again.") from None
    except Exception as error:  # the library raises half a dozen classes
        raise WeightsError(f"{uri}: {_why_not_loaded(data, error)}") from None


def plain_names(state: Mapping[str, Tensor]) -> State:
    """Tensors under the names of the network's own layers.

    >>> list(plain_names({"module.model.conv.weight": torch.ones(1), "n_averaged": torch.tensor(2)}))
    ['conv.weight', 'n_averaged']
    """
    inner = {name: [p for p in name.split(".") if p not in _INNER_WRAPPERS] for name in state}
    for parts in inner.values():
        while len(parts) > 1 and parts[0] in _WRAPPERS:
            del parts[0]
    plain = {name: ".".join(parts) for name, parts in inner.items()}
    if max(Counter(plain.values()).values(), default=1) > 1:  # two networks: the names must tell them apart
        return dict(state)
    return {plain[name]: tensor for name, tensor in state.items()}


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity; masks of attention may hold infinity.

    >>> not_finite({"a": torch.tensor([1.0, float("nan")]), "mask": torch.tensor(float("-inf"))})
    ['a']
    """
    return [name for name, tensor in state.items() if not _is_finite(name, tensor)]


def _is_finite(name: str, tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    wide = tensor if tensor.element_size() > 1 else tensor.float()  # 8-bit floats know no isfinite
    allowed = ~wide.isnan() if name.endswith("mask") else wide.isfinite()
    return bool(allowed.all())


def _check_finite(state: State, uri: str) -> State:
    if bad := not_finite(state):
        raise WeightsError(
            f"{uri}: {len(bad)} of {len(state)} tensors hold NaN or infinity, first {bad[0]!r}: a training "
            "that diverged, or a damaged file. Use an earlier checkpoint, or get the file again."
        )
    return state


def _find_state(tree: Any, uri: str) -> State:
    found = _tensors(tree)
    if found is not None:
        return {name: tensor.detach() for name, tensor in found.items()}
    if isinstance(tree, Tensor):
        what = f"a single tensor of shape {tuple(tree.shape)}"
    elif isinstance(tree, Mapping):
        what = _parts(tree)
    else:
        what = f"a {type(tree).__name__}"
    raise WeightsError(
        f"{uri}: not a plain state dict, but {what}. Save `model.state_dict()` of the network that is meant."
    )


def _tensors(tree: Any) -> dict[str, Tensor] | None:
    """The one mapping of names to tensors in a tree of containers; None if there is none, or several."""
    if isinstance(tree, list | tuple):
        found = [inner for part in tree if (inner := _tensors(part)) is not None]
        return found[0] if len(found) == 1 else None
    if not isinstance(tree, Mapping):
        return None
    for name in CONTAINERS:
        if (inner := _tensors(tree.get(name))) is not None:
            return inner
    own = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if own:
        return own
    others = list(_networks(tree))
    return others[0][1] if len(others) == 1 else None


def _networks(tree: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for name, part in tree.items():
        if isinstance(part, Mapping) and (inner := _tensors(part)) is not None:
            yield str(name), inner


def _parts(tree: Mapping[Any, Any]) -> str:
    networks = [f"{name} ({len(inner)} tensors)" for name, inner in _networks(tree)]
    if networks:
        return f"several networks: {', '.join(networks)}"
    names = ", ".join(map(str, list(tree)[:_SHOWN])) or "nothing"
    return f"a dict with no tensors by name in it ({names})"


def _why_not_loaded(data: bytes, error: Exception) -> str:
    text = " ".join(str(error).split())
    if classes := _foreign_classes(data, text):
        return (
            f"not a plain state dict: it holds pickled objects ({', '.join(classes[:_SHOWN])}), whose code "
            "would run on loading. Where you trust its source, load it there and save `model.state_dict()` "
            "as .safetensors."
        )
    cut = isinstance(error, EOFError) or re.search(r"truncated|ran out of input|unexpected eof", text, re.I)
    if cut:
        return f"cut short: {len(data):,} bytes, and the end is missing. Get the file again."
    if data[:1] in (b"P", b"\x80"):
        return f"a damaged checkpoint ({text[:120] or type(error).__name__}). Get the file again."
    return (
        f"not a file of weights: it is neither .safetensors nor what torch.save writes (it begins "
        f"{data[:8]!r}). Save `model.state_dict()` as .safetensors."
    )


def _foreign_classes(data: bytes, text: str) -> list[str]:
    """Classes that a pickle names and that are no plain data, read without running it."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    except Exception:  # not every format can be looked through; the error names at least one
        found = []
    return list(found) or re.findall(r"GLOBAL ([\w.]+)", text)[:1]
