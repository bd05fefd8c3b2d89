"""Places of positives: however the queries are cut up, and on whatever device, they are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from reid.evaluate.metrics.places import _higher, _higher_on_device, places


@pytest.fixture
def threads() -> Iterator[None]:
    """Three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def case(seed: int, levels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Similarities of 13 queries and 40 items, (row, column) of some pairs, and exclusions."""
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randint(levels, (13, 40), generator=generator).float() - levels / 2
    row, column = (torch.rand(13, 40, generator=generator) < 0.3).nonzero(as_tuple=True)
    return similarity, row, column, torch.rand(13, 40, generator=generator) < 0.2


def obvious(similarity: Tensor, row: Tensor, column: Tensor, exclude: Tensor) -> list[int]:
    """Each pair's place in its query's list of items, sorted as the metrics say."""
    found = []
    for i, j in zip(row.tolist(), column.tolist(), strict=True):
        kept = [n for n in range(similarity.shape[1]) if not exclude[i, n]]
        kept.sort(key=lambda n: (-float(similarity[i, n]), n))
        found.append(kept.index(j) if j in kept else -1)
    return found


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("many", [0, 10**6])
@pytest.mark.parametrize("block", [1, 100, 2**18])
def test_blocks_threads_and_ways_to_break_ties_change_nothing(
    block: int, many: int, levels: int, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reid.evaluate.metrics.places.BLOCK", block)
    monkeypatch.setattr("reid.evaluate.metrics.places.MANY", many)
    monkeypatch.setattr("reid.evaluate.metrics.places.FEW", block)
    similarity, row, column, exclude = case(block + many, levels)
    before = similarity.clone()
    place, left = places(similarity, row, column, exclude)
    assert place.tolist() == obvious(similarity, row, column, exclude)
    assert left.tolist() == (~exclude).sum(dim=1).tolist()
    everything = torch.zeros_like(exclude)
    assert places(similarity, row, column, None)[0].tolist() == obvious(similarity, row, column, everything)
    assert torch.equal(similarity, before)  # what is sorted is a copy


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize("levels", [3, 1000])
def test_what_runs_on_a_gpu_finds_what_runs_on_the_cpu(levels: int, excluded: bool) -> None:
    similarity, row, column, exclude = case(7, levels)
    mask = exclude if excluded else None
    for ours, theirs in zip(
        _higher(similarity, row, column, mask),
        _higher_on_device(similarity, row, column, mask),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_queries_without_positives_and_no_queries_have_no_places() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    place, left = places(torch.ones(2, 3), none, none, torch.tensor([[True, False, True]] * 2))
    assert (place.tolist(), left.tolist()) == ([], [1, 1])
    assert [found.tolist() for found in places(torch.ones(0, 3), none, none, None)] == [[], []]
