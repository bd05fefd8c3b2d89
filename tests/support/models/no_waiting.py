"""A device that has no numbers: what would wait for a GPU is an error there, with its place.

Tensors of torch's "meta" device have shapes and no values. A step that runs on it asks no tensor for a number
and makes no shape from one. Copies from the CPU run there, and are errors here if they would wait.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
_READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "bincount"}
_GET, _SET = Tensor.__getitem__, Tensor.__setitem__


class Waits(AssertionError):
    """An operation that waits for the device."""


class _Watched(TorchDispatchMode):
    """Refuses what reads a tensor of the device, and what copies to it or from it without `non_blocking`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in given if x.is_meta]
        name = func.__name__.partition(".")[0]
        if there and name in _READS:
            _refuse(f"{name} asks for numbers")
        if there and name in ("index", "index_put", "index_put_"):
            indices = [x for x in args[1] if isinstance(x, Tensor)]
            if any(x.dtype in (torch.bool, torch.uint8) for x in indices):
                _refuse(f"{name} by a mask asks how many are set")
            if any(not x.is_meta for x in indices):
                _refuse(f"{name} by a list or a tensor of the CPU copies it")
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if given and name in ("_to_copy", "copy_") and len({x.device for x in (*given, *made)}) > 1:
            apart = any(x.dim() for x in given if not x.is_meta) or not all(x.is_meta for x in made)
            patient = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            if apart and not patient:
                _refuse(f"{name} between devices")
        return out


def _refuse(what: str) -> None:
    places = [f for f in traceback.extract_stack() if "/reid/" in f.filename]
    where = f" at {places[-1].filename.partition('/reid/')[2]}:{places[-1].lineno}" if places else ""
    raise Waits(what + where)


def _no_constants(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(*args: Any, **kwargs: Any) -> Tensor:
        found = make(*args, **kwargs)
        if found.is_meta:
            _refuse(f"{make.__name__} copies its values to the device")
        return found

    return made


def _get(x: Tensor, index: Any) -> Tensor:
    _no_lists(x, index)
    return _GET(x, index)


def _set(x: Tensor, index: Any, value: Any) -> None:
    _no_lists(x, index)
    _SET(x, index, value)


def _no_lists(x: Tensor, index: Any) -> None:
    parts = index if isinstance(index, tuple) else (index,)
    if x.is_meta and any(isinstance(part, list) for part in parts):
        _refuse("a list as an index is copied to the device")


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within it, an operation on the meta device that would wait for a GPU raises `Waits`."""
    with (
        _Watched(),
        patch.object(torch, "tensor", _no_constants(torch.tensor)),
        patch.object(torch, "as_tensor", _no_constants(torch.as_tensor)),
        patch.object(Tensor, "new_tensor", _no_constants(Tensor.new_tensor)),
        patch.object(Tensor, "__getitem__", _get),
        patch.object(Tensor, "__setitem__", _set),
    ):
        yield
