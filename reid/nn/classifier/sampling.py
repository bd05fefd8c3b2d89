"""Partial FC (An et al., CVPR 2022): a softmax over the batch's classes and a random share of the others."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from reid.data.batches.host_labels import placed
from reid.nn.host_reads import HostRead, read_numbers


def local_targets(labels: Tensor, first: int, rows: int) -> Tensor:
    """Labels (B,) as positions among `rows` rows from `first` on; -1 for classes that are not among them.

    >>> local_targets(torch.tensor([0, 3, 5]), first=3, rows=2)
    tensor([-1,  0, -1])
    """
    places = labels - first
    return torch.where((places >= 0) & (places < rows), places, -1)


def sample_rows(targets: Tensor, rows: int, share: float, generator: torch.Generator) -> Tensor:
    """Positions (k,), ascending, of the rows that a step compares with.

    Args:
        targets: (B,) positions of the batch's classes among the rows, -1 for those of other ranks.
        rows: number of rows on this rank.
        share: k is this share of them, rounded up, or the number of the batch's classes if that is larger.
        generator: of the CPU; draws the rest.

    Returns:
        All of the batch's classes among these rows, and random others.

    >>> sample_rows(torch.tensor([7, 7, -1]), 10, 0.3, torch.Generator().manual_seed(0))
    tensor([..., 7...])
    """
    count = math.ceil(share * rows)
    keys = placed(torch.rand(rows, generator=generator), targets.device)
    keys = torch.cat([keys, keys.new_zeros(1)])  # one more place, for the targets of other ranks
    keys = keys.index_fill(0, torch.where(targets < 0, rows, targets), 2.0)[:rows]
    if count < min(rows, len(targets)):  # fewer than the batch may hold: only then they must be counted
        (there,) = read_numbers((keys == 2).sum()[None], HostRead.SAMPLED_CLASSES)
        count = max(count, there)
    return keys.topk(count).indices.sort().values


def positions(targets: Tensor, sampled: Tensor) -> Tensor:
    """Targets (B,) among the rows as targets among the sampled ones; -1 stays.

    >>> positions(torch.tensor([7, -1, 2]), torch.tensor([2, 5, 7]))
    tensor([ 2, -1,  0])
    """
    return torch.where(targets < 0, -1, torch.searchsorted(sampled, targets))


def step_generator(seed: int, step: int, *place: int) -> torch.Generator:
    """A generator of the CPU for one draw of one step: a resumed step draws what the step drew."""
    state = np.random.SeedSequence([seed, step, *place]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
