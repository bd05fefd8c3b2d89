"""The two-dimensional projection: principal components, bounded, the same every time."""

from __future__ import annotations

import pytest
import torch

from reid.evaluate.report.projection import project


def test_the_axes_are_the_directions_of_largest_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60, 8, generator=generator) * 0.001
    noise[:, 7] += 10  # unit norm keeps the rest small but in proportion
    noise[:, 2] += torch.linspace(-3, 3, 60)
    noise[:, 5] += torch.linspace(-1, 1, 60).square()
    found = project(noise[:30], noise[30:], list(range(30)), list(range(30, 60)))
    assert found is not None
    assert found.explained > 0.999
    along = [p.x for p in found.points]
    assert along == sorted(along) or along == sorted(along, reverse=True)
    assert (min(along), max(along)) == (pytest.approx(0), pytest.approx(1))
    assert max(p.y for p in found.points) - min(p.y for p in found.points) < 0.5  # one scale for both


def test_points_say_whose_they_are_and_which_side() -> None:
    found = project(torch.randn(2, 4), torch.randn(3, 4), [5, 6], [6, 6, 7], coloured=2)
    assert found is not None
    assert [(p.pid, p.query) for p in found.points] == [
        (5, True),
        (6, True),
        (6, False),
        (6, False),
        (7, False),
    ]
    assert found.identities == (6, 5)  # most images first


def test_of_many_vectors_the_coloured_identities_stay() -> None:
    torch.manual_seed(0)
    pids = [1] * 30 + list(range(100, 400))
    once = project(torch.randn(330, 5), torch.zeros(0, 5), pids, [], limit=50, coloured=1)
    assert once is not None
    assert (len(once.points), once.of) == (50, 330)
    assert sum(p.pid == 1 for p in once.points) == 30


def test_the_same_vectors_give_the_same_picture() -> None:
    vectors = torch.randn(40, 6, generator=torch.Generator().manual_seed(3))
    pids = list(range(40))
    once = project(vectors, vectors, pids, pids, limit=30)
    assert once == project(vectors, vectors, pids, pids, limit=30)
    assert once != project(vectors, vectors, pids, pids, limit=30, seed=1, coloured=0)


def test_too_few_vectors_or_one_direction_only_are_no_trouble() -> None:
    assert project(torch.randn(1, 4), torch.randn(1, 4), [1], [2]) is None
    same = project(torch.ones(2, 4), torch.ones(2, 4), [1, 2], [1, 2])
    assert same is not None
    assert all(0 <= p.x <= 1 and 0 <= p.y <= 1 for p in same.points)
