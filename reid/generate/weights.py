"""Finding the weights of a learned generator: a file, or a folder of a transformers model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid import storage
from reid.errors import WeightsError
from reid.nn.towers.checkpoint_kinds import describe_state
from reid.storage.checkpoints import CACHE_ENV, FILES, State, not_finite, read_tree

FIELD = "params.weights"


def find_file(weights: str) -> str:
    """The uri of a weights file: a path, an s3:// uri, or a name in the folder of ANYREID_WEIGHTS.

    Raises WeightsError with the three remedies when it is nowhere.
    """
    if storage.exists(weights):
        return weights
    folder = os.environ.get(CACHE_ENV)
    if folder and not storage.is_remote(weights):
        for suffix in ("", *FILES):
            candidate = storage.join(folder, weights + suffix)
            if storage.exists(candidate):
                return candidate
    raise missing_weights_error(weights, "a .safetensors or .pth file")


def find_model(weights: str, download: bool = False) -> str:
    """A local folder or a Hugging Face name that `from_pretrained` takes.

    A folder of ANYREID_WEIGHTS and an s3:// prefix (copied to a temporary folder once a process) count too.
    Raises WeightsError with the three remedies when it is nowhere and must not be downloaded.
    """
    if storage.is_remote(weights):
        return _fetched(weights)
    folder = os.environ.get(CACHE_ENV)
    candidates = [weights, *([storage.join(folder, weights)] if folder else [])]
    for candidate in candidates:
        if storage.exists(storage.join(candidate, "config.json")):
            return _fetched(candidate) if storage.is_remote(candidate) else storage.absolute(candidate)
    if Path(weights).expanduser().is_dir():
        raise WeightsError(
            f"{FIELD}={weights!r}: a folder without config.json, so not of a transformers model."
        )
    named = weights.count("/") == 1 and not weights.startswith((".", "~", "/"))
    if named and (download or _is_cached(weights)):
        return weights
    raise missing_weights_error(weights, "a folder written by save_pretrained")


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # a text that cannot be a name there
        return False


def missing_weights_error(weights: str, what: str) -> WeightsError:
    """The error for weights that are not on this machine, with three ways to supply them."""
    return WeightsError(
        f"{FIELD}={weights!r}: not on this machine. Three ways to supply it: (1) put it into the folder that "
        f"{CACHE_ENV} names, or fill the Hugging Face cache; (2) set {FIELD} to the path of {what}; (3) set "
        "it to an s3:// uri."
    )


def unfit_weights_error(weights: str, what: str, reason: object) -> WeightsError:
    """The error for weights of another kind or shape."""
    text = " ".join(str(reason).split())
    return WeightsError(f"{FIELD}={weights!r}: not {what} ({text[:300]}).")


def foreign_weights_error(weights: str, what: str, state: State, reason: object = "") -> WeightsError:
    """The error for a file of weights that are of another network, which it names."""
    told = f"it holds {describe_state(state)}"
    return unfit_weights_error(weights, what, f"{told}; {reason}" if reason else told)


def load_pretrained(auto: Any, weights: str, what: str, download: bool = False, **options: Any) -> Any:
    """`auto.from_pretrained` without foreign code, and with every tensor of a model found in the files.

    Raises WeightsError when the files are missing, are of another kind, or lack tensors.
    """
    name = find_model(weights, download)
    options |= {"local_files_only": not download, "trust_remote_code": False}
    is_model = "Model" in auto.__name__
    if is_model:
        options["output_loading_info"] = True
    try:
        with _no_bars():
            loaded = auto.from_pretrained(name, **options)
    except Exception as error:  # the library raises OSError, ValueError, KeyError, RuntimeError … alike
        _check_files(name)  # a cut file or a pointer explains it better
        raise unfit_weights_error(weights, what, error) from None
    if not is_model:
        return loaded
    model, info = loaded
    if lost := sorted(info["missing_keys"]):
        raise unfit_weights_error(weights, what, f"{len(lost)} tensors are missing, first {lost[0]!r}")
    if broken := not_finite(model.state_dict()):
        raise unfit_weights_error(
            weights, what, f"{len(broken)} tensors hold NaN or infinity, first {broken[0]!r}"
        )
    return model.eval()


def _check_files(name: str) -> None:
    """Raise WeightsError for a file of weights in a model's folder that is something else, or not whole."""
    if not storage.exists(name):  # a name in the Hugging Face cache, which the library keeps whole
        return
    for file in storage.list_files(name):
        if file.endswith(".safetensors") or file.rpartition("/")[2].startswith("pytorch_model"):
            read_tree(file)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the library's progress bars, which would fill the logs of many workers."""
    from transformers.utils import logging

    bars: Any = logging  # it has no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


_COPIES: dict[str, tempfile.TemporaryDirectory[str]] = {}


def _fetched(uri: str) -> str:
    """A local copy of the files of an s3:// prefix; it goes with the process."""
    if uri not in _COPIES:
        files = storage.list_files(uri)
        if not any(f.endswith("/config.json") for f in files):
            raise missing_weights_error(uri, "a folder written by save_pretrained")
        copy = tempfile.TemporaryDirectory(prefix="anyreid-weights-")
        for file in files:
            Path(copy.name, file.rsplit("/", 1)[-1]).write_bytes(storage.read_bytes(file))
        _COPIES[uri] = copy
    return _COPIES[uri].name
