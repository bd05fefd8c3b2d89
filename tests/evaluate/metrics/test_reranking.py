"""k-reciprocal re-ranking against the published algorithm written out with dense matrices and loops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reid.config import RerankConfig
from reid.errors import UsageError
from reid.evaluate.metrics.reranking import check_size, rerank

Floats = npt.NDArray[np.float64]


def textbook(q: Tensor, g: Tensor, k1: int, k2: int, lambda_value: float) -> Floats:
    """(Q, G) new distances, one image and one set at a time (Zhong et al. 2017, section 3)."""
    features = normalize(torch.cat([q, g]), dim=1).double().numpy()
    distance = 2 - 2 * features @ features.T
    count = len(distance)
    nearest = distance.argsort(axis=1, kind="stable")
    scaled = distance / distance.max(axis=1, keepdims=True)

    def reciprocal(i: int, k: int) -> set[int]:
        return {int(j) for j in nearest[i, : k + 1] if i in nearest[j, : k + 1]}

    described = np.zeros((count, count))
    for i in range(count):
        mine = reciprocal(i, k1)
        expanded = set(mine)
        for j in mine:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & mine) > 2 / 3 * len(theirs):
                expanded |= theirs
        chosen = sorted(expanded)
        weights = np.exp(-scaled[i, chosen])
        described[i, chosen] = weights / weights.sum()
    if k2 > 1:
        described = np.stack([described[nearest[i, :k2]].mean(axis=0) for i in range(count)])
    jaccard = np.zeros((len(q), len(g)))
    for i in range(len(q)):
        for j in range(len(g)):
            common = np.minimum(described[i], described[len(q) + j]).sum()
            union = np.maximum(described[i], described[len(q) + j]).sum()
            jaccard[i, j] = 1 - common / union
    return np.asarray((1 - lambda_value) * jaccard + lambda_value * scaled[: len(q), len(q) :])


def clustered(seed: int, count: int, identities: int = 6) -> Tensor:
    """Features in overlapping groups, so that neighbourhoods are worth something."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, 16, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(count, 16, generator=generator)
    return centres[torch.arange(count) % identities] + 0.9 * noise


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(20, 6, 0.3), (7, 1, 0.3), (5, 3, 0.0), (4, 9, 0.8), (200, 6, 0.3)]
)
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_the_dense_algorithm(k1: int, k2: int, lambda_value: float, seed: int) -> None:
    q, g = clustered(seed, 25), clustered(100 + seed, 70)
    config = RerankConfig(k1=k1, k2=k2, lambda_value=lambda_value)
    compare = rerank(q, g, config)
    found = torch.cat([compare(slice(0, 10)), compare(slice(10, 25))])
    np.testing.assert_allclose(1 - found.numpy(), textbook(q, g, k1, k2, lambda_value), atol=2e-6)


def test_only_the_original_distance_keeps_the_order_of_cosine() -> None:
    q, g = clustered(0, 5), clustered(1, 30)
    found = rerank(q, g, RerankConfig(lambda_value=1.0))(slice(0, 5))
    cosine = normalize(q, dim=1) @ normalize(g, dim=1).T
    assert torch.equal(found.argsort(dim=1), cosine.argsort(dim=1))


def test_many_copies_of_one_image_do_not_break_it() -> None:
    g = torch.ones(40, 4)
    found = rerank(torch.ones(3, 4), g, RerankConfig(k1=5, k2=2))(slice(0, 3))
    assert torch.isfinite(found).all()
    assert found.shape == (3, 40)


def test_more_vectors_than_memory_holds_are_refused_with_the_number_that_fit() -> None:
    check_size(100_000, 512, RerankConfig())
    with pytest.raises(UsageError, match=r"evaluate.rerank: 10000000 vectors .* enough for \d+\. Leave"):
        check_size(10_000_000, 512, RerankConfig())
