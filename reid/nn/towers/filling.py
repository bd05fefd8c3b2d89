"""Fills a module from a checkpoint's tensors, or tells which do not fit and what the checkpoint is of."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from reid.errors import WeightsError
from reid.nn.towers.checkpoint_kinds import count_blocks, describe_state

COUNTER = "num_batches_tracked"
"""Older checkpoints lack these counters, which no arithmetic here reads."""


State = Mapping[str, Tensor]


def fill(module: nn.Module, given: State, spec: str, what: str, whole: State | None = None) -> None:
    """Load all tensors of a module.

    Args:
        module: what is filled.
        given: tensors under the module's own names; others are left out.
        spec: the weights as the user named them, for messages.
        what: what the module is, for messages.
        whole: everything that the file holds, where `given` is a part of it.

    Raises WeightsError naming a tensor that is missing or does not fit, and what the file holds.

    >>> import torch
    >>> from torch import nn
    >>> layer = nn.Linear(1, 1)
    >>> fill(layer, {"weight": torch.ones(1, 1), "bias": torch.zeros(1)}, "mine.pt", "the layer")
    >>> layer.weight.item()
    1.0
    """
    wanted = module.state_dict()
    missing = [k for k in wanted if k not in given and not k.endswith(COUNTER)]
    if missing:
        raise WeightsError(
            f"weights {spec!r}: {what} lacks {len(missing)} tensors, first {missing[0]!r}. "
            f"{_told(given if whole is None else whole)}"
        )
    for name, tensor in wanted.items():
        if name in given and given[name].shape != tensor.shape:
            raise WeightsError(
                f"weights {spec!r}: tensor {name!r} of {what} is {tuple(given[name].shape)}, the model has "
                f"{tuple(tensor.shape)}. {_told(given if whole is None else whole)}"
            )
    module.load_state_dict({k: given.get(k, tensor) for k, tensor in wanted.items()})


def check_blocks(state: State, before: str, wanted: int, spec: str, what: str) -> None:
    """Raise WeightsError when a checkpoint has more blocks, numbered after `before`, than what is filled.

    Fewer blocks lack tensors, which `fill` tells.

    >>> import torch
    >>> check_blocks({"blocks.0.weight": torch.ones(1)}, "blocks.", 1, "mine.pt", "the tower")
    """
    there = count_blocks(state, before)
    if there > wanted:
        raise WeightsError(
            f"weights {spec!r}: {what} has {wanted} blocks, the checkpoint {there}. {_told(state)}"
        )


def _told(state: State) -> str:
    return (
        f"The file holds {describe_state(state)}. Configure the architecture and the sizes of the "
        "checkpoint, or name another one."
    )
