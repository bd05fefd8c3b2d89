"""A recipe means the same on one process and on many: two ranks against the joined batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing

from reid.data.batches.batch import join
from tests.support.models import ddp_ranks as ranks

GLOBAL = [
    "concat",
    "mean, ragged",
    "mean, modalities on one rank only",
    "mean, a rank without pictures",
    "mfrnet",
    "mfrnet, a modality on one rank only",
    "signal",
    "signal, heads and masks",
    "flexireid",
    "flexireid, modalities on one rank only",
    "flexireid, a rank without pictures",
    "stmi",
    "stmi, captions and masks on one rank only",
    "stmi, no caption at all",
    "mixer",
    "mixer, a modality on one rank only",
    "mixer, an untouched branch",
    "mixer, tower",
]
LOCAL = ["concat, local", "mean, local", "mixer, local"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found, for every case."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.spawn(ranks.run_rank, (str(folder),), nprocs=ranks.WORLD, join=False)
    try:
        for _ in range(24):
            if context.join(timeout=5):
                break
        else:
            pytest.fail("the ranks wait for each other: their collectives do not pair up")
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
    return [torch.load(folder / f"rank{r}.pt", weights_only=True) for r in range(ranks.WORLD)]


def alone(case: str) -> dict[str, dict[str, Tensor]]:
    """One process on the joined batch."""
    found: dict[str, dict[str, Tensor]] = ranks.step(case, join([ranks.batch_of(case, r) for r in range(2)]))
    return found


def gap(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference between two dicts of tensors with the same keys, as a share of large ones."""
    assert a.keys() == b.keys()
    gaps = (float((a[k] - b[k]).abs().max() / b[k].abs().max().clamp_min(1)) for k in a)
    return max(gaps, default=0.0)


@pytest.mark.parametrize("case", GLOBAL)
def test_two_ranks_equal_one_process_on_the_joined_batch(results: list[dict[str, Any]], case: str) -> None:
    expected = alone(case)
    for found in results:
        assert found[case]["lacking"] == expected["lacking"] == {}
        for part in ("losses", "gradients", "buffers"):
            assert gap(found[case][part], expected[part]) < TOLERANCE, part
    assert max(float(g.abs().max()) for g in expected["gradients"].values()) > 100 * TOLERANCE


@pytest.mark.parametrize("case", LOCAL)
def test_local_statistics_are_another_recipe_with_equal_gradients_on_all_ranks(
    results: list[dict[str, Any]], case: str
) -> None:
    expected = alone(case)
    first, second = (found[case] for found in results)
    assert gap(first["gradients"], second["gradients"]) == 0
    assert gap(first["losses"], second["losses"]) > 1e-3
    assert gap(first["gradients"], expected["gradients"]) > 1e-3
    assert first["lacking"] == second["lacking"] == {}


def test_local_statistics_see_each_ranks_own_rows(results: list[dict[str, Any]]) -> None:
    """A rank's losses are those of its batch alone, and the gradients are the ranks' mean."""
    own = [ranks.step("concat, local", ranks.batch_of("concat, local", r)) for r in range(2)]
    for found, expected in zip(results, own, strict=True):
        assert gap(found["concat, local"]["losses"], expected["losses"]) < TOLERANCE
    mean = {k: (own[0]["gradients"][k] + own[1]["gradients"][k]) / 2 for k in own[0]["gradients"]}
    assert gap(results[0]["concat, local"]["gradients"], mean) < TOLERANCE


def test_rows_are_gathered_in_rank_order_however_many_there_are(results: list[dict[str, Any]]) -> None:
    rows = torch.tensor([[0.0, 1], [2, 3], [4, 5], [10, 11]])
    for found in (r["gathered"] for r in results):
        assert torch.equal(found["rows"], rows)
        assert found["names"].tolist() == [0, 5, 6]
        assert torch.equal(found["one_empty"], torch.ones(2, 3))
        assert found["all_empty"].shape == (0, 3)
    assert torch.equal(results[0]["gathered"]["local"], rows[:3])
    assert torch.equal(results[1]["gathered"]["local"], rows[3:])


def test_the_gradient_of_gathered_rows_sums_over_the_ranks_losses(results: list[dict[str, Any]]) -> None:
    rows = torch.tensor([[0.0, 1], [2, 3], [4, 5], [10, 11]])
    weight = torch.arange(1.0, 9.0).reshape(4, 2)
    expected = 2 * (2 * weight * rows)  # two ranks hold the same loss
    assert torch.equal(results[0]["gathered"]["gradient"], expected[:3])
    assert torch.equal(results[1]["gathered"]["gradient"], expected[3:])
