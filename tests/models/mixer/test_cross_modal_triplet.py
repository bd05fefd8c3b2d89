"""The mixed cross-modal triplet against a loop over anchors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reid.models.mixer.cross_modal_triplet import mixed_cross_modal_triplet


def slow(x: Tensor, labels: list[int], kinds: list[int], margin: float | None, negatives: str) -> float:
    unit = x / x.norm(dim=1, keepdim=True)
    n, total = len(labels), 0.0
    for cross in (True, False):
        terms = []
        for a in range(n):

            def kin(i: int, a: int = a, cross: bool = cross) -> bool:
                return (kinds[i] != kinds[a]) == cross

            distance = [float((unit[a] - unit[i]).norm()) for i in range(n)]
            positives = [distance[i] for i in range(n) if labels[i] == labels[a] and i != a and kin(i)]
            others = [
                distance[i] for i in range(n) if labels[i] != labels[a] and (negatives == "any" or kin(i))
            ]
            if positives and others:
                gap = max(positives) - min(others)
                terms.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
        total += sum(terms) / max(1, len(terms))
    return total


LABELS, KINDS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 1, 1, 0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("negatives", ["any", "each"])
@pytest.mark.parametrize("margin", [0.3, 0.0, None])
def test_the_value_is_that_of_a_loop_over_anchors(margin: float | None, negatives: str) -> None:
    x = torch.randn(len(LABELS), 5, generator=torch.Generator().manual_seed(1))
    found = mixed_cross_modal_triplet(
        x,
        torch.tensor(LABELS),
        torch.tensor(KINDS),
        margin,
        negatives,  # type: ignore[arg-type]
    )
    assert float(found) == pytest.approx(slow(x, LABELS, KINDS, margin, negatives), rel=1e-4)


def test_a_negative_of_either_modality_counts() -> None:
    """The nearest negative is of the anchor's own modality: only a mixed gallery holds it."""
    x = torch.tensor([[1.0, 0], [0.9, 0.1], [0.99, 0.01], [0, 1]], requires_grad=True)
    labels, kinds = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    mixed = mixed_cross_modal_triplet(x, labels, kinds)
    cross = mixed_cross_modal_triplet(x, labels, kinds, negatives="each")
    assert float(mixed.detach()) > float(cross.detach())
    mixed.backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("labels", "kinds"), [([0, 0, 0], [0, 1, 1]), ([0, 1, 2], [0, 1, 0])])
def test_without_positives_or_negatives_it_is_zero_with_a_gradient(
    labels: list[int], kinds: list[int]
) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    loss = mixed_cross_modal_triplet(x, torch.tensor(labels), torch.tensor(kinds))
    loss.backward()
    assert float(loss.detach()) == 0
    assert x.grad is not None and not x.grad.any()


def test_length_does_not_matter() -> None:
    x = torch.randn(len(LABELS), 5, generator=torch.Generator().manual_seed(1))
    scale = torch.rand(len(x), 1) + 0.5
    args = torch.tensor(LABELS), torch.tensor(KINDS)
    assert torch.allclose(
        mixed_cross_modal_triplet(x, *args), mixed_cross_modal_triplet(x * scale, *args), atol=1e-5
    )
