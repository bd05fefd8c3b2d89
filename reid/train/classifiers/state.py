"""Training state of split classifiers: a file of its own rows from each rank, read by any number of ranks.

A tensor of the file is a weight, `<parameter>`, or one of the optimiser's for it, `<parameter>/<key>`; the
file's metadata say which rows they are of. The rest of a state has no part of these weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reid.errors import WeightsError
from reid.nn.classifier.layer import classifiers, split_parameters
from reid.nn.classifier.placement import RowRange
from reid.nn.distributed import rank, world_size

FILES = "classifiers-rank-*.safetensors"


def copied_split_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Path], bool]:
    """Copy this rank's rows, and what the optimiser knows of them, to the CPU.

    What is returned writes the copy into a folder, at any later time; False if no classifier is split.
    """
    split = split_parameters(model)
    if not split:
        return lambda folder: False
    tensors: dict[str, Tensor] = {}
    for name in split:
        parameter = model.get_parameter(name)
        tensors[name] = parameter.detach()
        known = optimizer.state.get(parameter, {})
        tensors |= {f"{name}/{key}": x for key, x in known.items() if isinstance(x, Tensor)}
    copies = {name: x.to("cpu", copy=True).contiguous() for name, x in tensors.items()}
    rows = {name: f"{r.first} {r.stop} {r.total}" for name, r in split.items()}
    file = f"classifiers-rank-{rank():05d}-of-{world_size():05d}.safetensors"

    def write(folder: Path) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(copies, folder / file, metadata=rows)
        return True

    return write


def add_own_rows(
    folder: Path,
    weights: dict[str, Tensor],
    state: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Complete a state that was read from `folder` with the rows of the classifiers that `model` has here.

    They come from the ranks' files, or from the state itself where it has whole classifiers. `weights` and
    `state`, the optimiser's, are changed in place. Raises WeightsError when rows are missing.
    """
    places, known = _places(model, optimizer), state["state"]
    for name, layer in classifiers(model).items():
        place, found = places.get(name), {}
        if name in weights:
            weights[name] = _rows_of(weights[name], layer.rows)
            found = {key: _rows_of(x, layer.rows) for key, x in known.get(place, {}).items()}
        elif not len(layer.rows):
            weights[name] = layer.weight.detach().clone()
        else:
            parts = _read(folder, name, layer.rows)
            weights[name] = parts.pop(name)
            found = {key.removeprefix(f"{name}/"): x for key, x in parts.items()}
        if found:
            known[place] = found


def _places(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Parameter name -> its number in the optimiser's state dict."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    listed = [p for group in optimizer.param_groups for p in group["params"]]
    return {names[p]: place for place, p in enumerate(listed)}


def _rows_of(x: Any, rows: RowRange) -> Any:
    """These rows of a weight or of an optimiser's tensor like it; a step count as it is."""
    return x[rows.first : rows.stop] if isinstance(x, Tensor) and x.dim() else x


def _part(opened: Any, key: str, first: int, rows: int) -> Tensor:
    """So many rows of a tensor in a file, without reading the others; a step count as it is."""
    view = opened.get_slice(key)
    part: Tensor = view[first : first + rows] if view.get_shape() else opened.get_tensor(key)
    return part


def _read(folder: Path, name: str, rows: RowRange) -> dict[str, Tensor]:
    """The weight and the optimiser's tensors of these rows, from the files of the ranks that had them."""
    parts: dict[str, list[Tensor]] = {}
    reached = rows.first
    for file, theirs in _files(folder, name):
        if theirs.total != rows.total:
            raise WeightsError(
                f"{file}: {name} is of {theirs.total} classes, and training has {rows.total} now. "
                "Use the data and labels that the state was written with."
            )
        low, high = max(theirs.first, rows.first), min(theirs.stop, rows.stop)
        if low >= high or low != reached:
            continue
        reached = high
        with safe_open(file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - not a dict
                if key == name or key.startswith(f"{name}/"):
                    parts.setdefault(key, []).append(_part(opened, key, low - theirs.first, high - low))
    if reached != rows.stop:
        raise WeightsError(
            f"{folder}: rows {reached} to {rows.stop} of {name} are in none of its {FILES}. Copy the files "
            "of all ranks, or take the checkpoint before."
        )
    return {key: torch.cat(found) if found[0].dim() else found[0] for key, found in parts.items()}


def _files(folder: Path, name: str) -> Iterator[tuple[Path, RowRange]]:
    """The ranks' files, in the order of their rows, and which rows of a parameter they have."""
    found = []
    for file in folder.glob(FILES):
        with safe_open(file, "pt") as opened:
            told = (opened.metadata() or {}).get(name, "")
        if re.fullmatch(r"\d+ \d+ \d+", told):
            found.append((file, RowRange(*map(int, told.split()))))
    yield from sorted(found, key=lambda each: each[1].first)
