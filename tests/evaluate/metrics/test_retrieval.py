"""Retrieval metrics against golden numbers, arithmetic by hand, and a slow, obvious loop."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reid.errors import DataError
from reid.evaluate.metrics.ranking import top_ranked
from reid.evaluate.metrics.retrieval import RetrievalMetrics, bootstrap_map, evaluate_features, rank_metrics
from reid.evaluate.protocols.label_arrays import LabelArrays


def textbook(similarity: Tensor, q_pid: Tensor, g_pid: Tensor, exclude: Tensor) -> dict[str, list[Any]]:
    """Every definition spelled out for one query at a time, in plain Python."""
    out: dict[str, list[Any]] = {"ap": [], "inp": [], "first": [], "order": [], "listed": []}
    for i, row in enumerate(similarity.tolist()):
        kept = [j for j in range(len(row)) if not exclude[i, j]]
        kept.sort(key=lambda j: (-row[j], j))
        ranks = [n for n, j in enumerate(kept, 1) if g_pid[j] == q_pid[i]]
        precisions = [k / rank for k, rank in enumerate(ranks, 1)]
        out["order"].append(kept)
        out["ap"].append(sum(precisions) / len(ranks) if ranks else math.nan)
        out["inp"].append(len(ranks) / ranks[-1] if ranks else math.nan)
        out["first"].append(ranks[0] if ranks else 0)
        names: list[int] = []  # the SYSU-MM01 list: every identity at its first item
        for j in kept:
            if g_pid[j] not in names:
                names.append(int(g_pid[j]))
        out["listed"].append(names.index(int(q_pid[i])) + 1 if ranks else 0)
    return out


def agrees(metrics: RetrievalMetrics, expected: dict[str, list[Any]]) -> None:
    """Assert that per-query numbers and means equal the textbook's."""
    assert metrics.listed is None or metrics.listed.tolist() == expected["listed"]
    np.testing.assert_allclose(metrics.ap.numpy(), expected["ap"], rtol=1e-12)
    np.testing.assert_allclose(metrics.inp.numpy(), expected["inp"], rtol=1e-12)
    assert metrics.first_hit.tolist() == expected["first"]
    valid = [ap for ap in expected["ap"] if not math.isnan(ap)]
    assert metrics.queries == len(valid)
    assert metrics.skipped == len(expected["ap"]) - len(valid)
    if valid:
        assert metrics.mAP == pytest.approx(sum(valid) / len(valid))
        hits = [f for f in expected["first" if metrics.listed is None else "listed"] if f]
        for k in (1, 2, 5, 10):
            assert metrics.cmc_at(k) == pytest.approx(sum(f <= k for f in hits) / len(hits))


def meta(pid: Tensor) -> LabelArrays:
    """Labels with identities alone."""
    none = torch.full_like(pid, -1)
    own = torch.arange(len(pid))[:, None]
    return LabelArrays(
        pid, none, none, none, none.clamp(min=1), own, none[:, None], none[:, None], none[:, None]
    )


def test_golden_numbers_of_the_same_camera_protocol() -> None:
    # specs/mfrnet_signal.md, appendix A6: measured from the official evaluator.
    i, j = np.mgrid[:6, :70]
    distance = np.abs(np.sin(0.9 * (70 * i + j) + 0.2)).astype(np.float32)
    q_pid, g_pid = torch.tensor([0, 0, 1, 1, 2, 3]), torch.arange(70) * 7 % 5
    q_cam, g_cam = torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(70) * 3 % 4 % 3
    exclude = (q_pid[:, None] == g_pid) & (q_cam[:, None] == g_cam)
    metrics = rank_metrics(-torch.from_numpy(distance), q_pid, g_pid, exclude, range(1, 11))
    assert metrics.mAP == pytest.approx(0.192360, abs=5e-7)
    golden = [0.1667, 0.3333, 0.3333, 0.6667, 0.6667, 0.6667, 0.8333, 0.8333, 1, 1]
    assert metrics.cmc == pytest.approx(golden, abs=5e-5)


def test_a_tiny_example_by_hand() -> None:
    # Ranking: pids 1, 0, 1, 0. Positives of pid 1 at ranks 1 and 3.
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6]])
    g_pid = torch.tensor([1, 0, 1, 0])
    metrics = rank_metrics(similarity, torch.tensor([1, 0]), g_pid, ranks=(1, 2))
    assert metrics.ap.tolist() == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2])
    assert metrics.inp.tolist() == pytest.approx([2 / 3, 2 / 4])
    assert metrics.first_hit.tolist() == [1, 2]
    assert metrics.cmc == (0.5, 1.0)
    assert metrics.mINP == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert metrics.summary()["R2"] == 1.0


def test_equal_similarities_rank_by_gallery_index_and_signed_zeros_are_equal() -> None:
    similarity = torch.tensor([[0.0, -0.0, 0.0, -0.0]])
    metrics = rank_metrics(similarity, torch.tensor([7]), torch.tensor([1, 1, 7, 1]))
    assert metrics.first_hit.tolist() == [3]


KINDS = ("ordinary", "no positive", "tiny gallery", "one identity", "duplicated items")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(65))
def test_random_cases_agree_with_the_textbook_on_both_lists(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # ties are broken as where there are many of them
        monkeypatch.setattr("reid.evaluate.metrics.places.MANY", -1)
    generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)

    def integers(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    q = int(integers(8, 1)) + 1
    g = int(integers(3 if kind == "tiny gallery" else 30, 1)) + 1
    levels = (2, 5, 1000)[seed % 3]  # few levels: nearly everything is tied
    similarity = integers(levels, q, g).float() / levels - 0.5
    if kind == "duplicated items":
        similarity = similarity[:, integers(g, g)]
    q_pid, g_pid = integers(4, q), integers(1 if kind == "one identity" else 5, g)
    if kind == "no positive":
        g_pid += 4
    exclude = integers(3, q, g) == 0
    expected = textbook(similarity, q_pid, g_pid, exclude)
    agrees(rank_metrics(similarity, q_pid, g_pid, exclude, chunk=3), expected)
    identities = rank_metrics(similarity, q_pid, g_pid, exclude, chunk=3, cmc="identities")
    assert identities.listed is not None
    agrees(identities, expected)
    for row, order in zip(top_ranked(similarity, 6, exclude).tolist(), expected["order"], strict=True):
        assert row == (order + [-1] * 6)[:6]


def test_the_identity_list_counts_wrong_identities_and_not_their_images() -> None:
    # Ranking: 1 1 1 2 0 0. The right image is 5th, its identity 3rd.
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    g_pid = torch.tensor([1, 1, 1, 2, 0, 0])
    images = rank_metrics(similarity, torch.tensor([0]), g_pid, ranks=(3, 5))
    names = rank_metrics(similarity, torch.tensor([0]), g_pid, ranks=(3, 5), cmc="identities")
    assert (images.cmc, names.cmc) == ((0.0, 1.0), (1.0, 1.0))
    assert images.mAP == names.mAP == pytest.approx((1 / 5 + 2 / 6) / 2)
    assert math.isnan(names.chance_cmc(3)) and names.chance_cmc(1) == pytest.approx(2 / 6)


def test_no_positive_is_skipped_and_counted_and_the_means_ignore_it() -> None:
    similarity = torch.tensor([[0.1, 0.2], [0.1, 0.2]])
    q_pid, g_pid = torch.tensor([0, 5]), torch.tensor([0, 0])
    metrics = rank_metrics(similarity, q_pid, g_pid)
    assert (metrics.queries, metrics.skipped, metrics.mAP) == (1, 1, 1.0)
    nothing = rank_metrics(similarity, torch.tensor([5, 6]), g_pid)
    assert (nothing.queries, nothing.skipped) == (0, 2)
    assert all(math.isnan(x) for x in (nothing.mAP, nothing.mINP, nothing.cmc_at(1), nothing.chance_mAP))


def test_a_query_whose_whole_gallery_is_excluded_is_skipped() -> None:
    metrics = rank_metrics(torch.ones(1, 2), torch.tensor([0]), torch.tensor([0, 0]), torch.ones(1, 2) > 0)
    assert (metrics.skipped, metrics.candidates.tolist()) == (1, [0])


@pytest.mark.parametrize("chunk", [1, 2, 7, 512])
def test_chunk_size_changes_nothing(chunk: int) -> None:
    # ±1 vectors of length 4: every product is exact, so that ties stay ties however it is chunked.
    generator = torch.Generator().manual_seed(3)
    q, g = (torch.randint(0, 2, (n, 16), generator=generator).float() * 2 - 1 for n in (23, 40))
    q_pid, g_pid = torch.arange(23) % 6, torch.arange(40) % 5

    def exclude(a: LabelArrays, b: LabelArrays) -> Tensor:
        return (a.samples[:, None, 0] + b.samples[None, :, 0]) % 7 == 0

    metrics = evaluate_features(q, g, meta(q_pid), meta(g_pid), exclude, chunk=chunk)
    mask = exclude(meta(q_pid), meta(g_pid))
    agrees(metrics, textbook(q @ g.T / 16, q_pid, g_pid, mask))


def test_features_are_compared_by_cosine_and_not_by_length() -> None:
    g = torch.tensor([[100.0, 100.0], [0.1, 0.0]])
    metrics = evaluate_features(
        torch.tensor([[1.0, 0.0]]), g, meta(torch.tensor([0])), meta(torch.tensor([1, 0]))
    )
    assert metrics.first_hit.tolist() == [1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_features_that_are_not_finite_are_refused(bad: float, side: str) -> None:
    q, g = torch.ones(2, 3), torch.ones(2, 3)
    (q if side == "query" else g)[1, 0] = bad
    labels = meta(torch.tensor([0, 1]))
    with pytest.raises(DataError, match=f"1 of 2 {side} features are not finite .*row 1"):
        evaluate_features(q, g, labels, labels)
    with pytest.raises(DataError, match="not finite"):
        rank_metrics(torch.tensor([[bad]]), torch.tensor([0]), torch.tensor([0]))


def test_shapes_that_disagree_and_empty_sides_are_refused() -> None:
    one, two = torch.tensor([0]), torch.tensor([0, 1])
    with pytest.raises(DataError, match="labels are for"):
        rank_metrics(torch.ones(2, 2), one, two)
    with pytest.raises(DataError, match="mask is"):
        rank_metrics(torch.ones(1, 2), one, two, torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(DataError, match="Nothing to evaluate"):
        rank_metrics(torch.ones(0, 2), one[:0], two)
    with pytest.raises(DataError, match="columns"):
        evaluate_features(torch.ones(1, 3), torch.ones(2, 4), meta(one), meta(two))
    with pytest.raises(DataError, match="No gallery features"):
        evaluate_features(torch.ones(1, 3), torch.ones(0, 3), meta(one), meta(one[:0]))


@pytest.mark.parametrize(("items", "positives"), [(1, 1), (5, 1), (5, 2), (6, 6), (6, 3)])
def test_chance_is_the_mean_over_every_order_of_the_gallery(items: int, positives: int) -> None:
    g_pid = torch.tensor([0] * positives + [1] * (items - positives))
    orders = torch.tensor(list(itertools.permutations(range(items)))).float()
    every = rank_metrics(orders, torch.zeros(len(orders), dtype=torch.int64), g_pid)
    assert every.chance_mAP == pytest.approx(every.mAP, abs=1e-9)
    for k in (1, 2, 4, 10):
        assert every.chance_cmc(k) == pytest.approx(every.cmc_at(k), abs=1e-6)


def test_the_interval_resamples_identities_and_needs_two() -> None:
    similarity = torch.tensor([[0.9, 0.1]] * 30)
    q_pid = torch.tensor([0] * 28 + [1] * 2)  # identity 0: AP 1; identity 1: AP 1/2
    metrics = rank_metrics(similarity, q_pid, torch.tensor([0, 1]))
    assert bootstrap_map(metrics, q_pid, seed=1) == bootstrap_map(metrics, q_pid, seed=1)
    # A quarter of the draws is the second identity alone; resampled queries would stay near 0.97.
    assert bootstrap_map(metrics, q_pid) == pytest.approx((0.5, 1.0))
    assert bootstrap_map(rank_metrics(similarity[:5], q_pid[:5], torch.tensor([0, 1])), q_pid[:5]) is None
