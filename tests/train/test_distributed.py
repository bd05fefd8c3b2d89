"""A recipe means the same on one process and on many: two ranks against the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.data.batches.batch import join
from tests.support.models import ddp_ranks as ranks
from tests.support.models import way_ranks
from tests.support.models.spawned_ranks import spawn_ranks
from tests.support.models.split_ranks import run_ranks

GLOBAL = [
    "concat",
    "mean, ragged",
    "mean, modalities on one rank only",
    "mean, a rank without pictures",
    "mean, centred and gated",
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
    spawn_ranks(ranks.run_rank, (str(folder),), ranks.WORLD)
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


@pytest.mark.slow
def test_computing_again_or_in_parts_leaves_statistics_global(tmp_path: Path) -> None:
    found = run_ranks(way_ranks.ways, tmp_path)
    cases = {f"{c}, again": c for c in way_ranks.AGAIN} | {f"{c}, in parts": c for c in way_ranks.IN_PARTS}
    for name, case in cases.items():
        expected = alone(case)
        for rank in found:
            for part in ("losses", "gradients", "buffers"):
                assert gap(rank[name][part], expected[part]) < TOLERANCE, (name, part)


@pytest.mark.parametrize("case", ranks.SPLIT)
def test_classes_split_over_two_ranks_change_neither_losses_nor_gradients(
    results: list[dict[str, Any]], case: str
) -> None:
    expected, found = results[0][case], [r[f"{case}, split"] for r in results]
    shapes = {name: x.shape for name, x in expected["gradients"].items()}
    heads = [n for n in shapes if any(f["gradients"][n].shape != shapes[n] for f in found)]
    assert heads and all("classifier" in name for name in heads)
    whole = {name: torch.cat([f["gradients"][name] for f in found]) for name in heads}
    for rank in found:
        assert gap(rank["losses"], expected["losses"]) < 1e-6
        assert gap(rank["gradients"] | whole, expected["gradients"]) < 1e-6
        assert gap(rank["buffers"], expected["buffers"]) < 1e-6
        assert gap(rank["norm"], expected["norm"]) < 1e-6


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
