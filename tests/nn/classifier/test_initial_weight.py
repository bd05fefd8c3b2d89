"""Initial weights: those of torch's linear layer, whole or in rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reid.nn.classifier.initial_weight import draw_rows
from reid.nn.classifier.placement import RowRange, row_share


def plain(classes: int, dim: int) -> Tensor:
    layer = nn.Linear(dim, classes, bias=False)
    nn.init.normal_(layer.weight, std=0.001)
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("classes", "dim", "block"), [(5, 8, 64), (1, 8, 64), (17, 3, 48), (300, 16, 256), (1001, 37, 1024)]
)
def test_blocks_are_the_bits_of_one_draw_and_leave_the_generator_where_it_does(
    classes: int, dim: int, block: int
) -> None:
    torch.manual_seed(3)
    expected, after = plain(classes, dim), torch.rand(1)
    for rank in range(3):
        rows = row_share(classes, rank, 3)
        torch.manual_seed(3)
        found = draw_rows(rows, dim, 0.001, block)
        assert torch.equal(found, expected[rows.first : rows.stop])
        assert torch.equal(torch.rand(1), after)


def test_huge_weights_are_the_same_for_any_number_of_ranks_too() -> None:
    def drawn(rows: RowRange) -> Tensor:
        torch.manual_seed(3)
        return draw_rows(rows, 8, 0.5, block=256, sequential=100)

    whole = drawn(row_share(100, 0, 1))
    assert abs(float(whole.std()) - 0.5) < 0.05
    assert len(whole.unique()) == 800
    assert torch.equal(torch.cat([drawn(row_share(100, rank, 7)) for rank in range(7)]), whole)
