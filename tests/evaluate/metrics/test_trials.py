"""Means and spread over several galleries, with queries that count in some of them only."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from reid.evaluate.metrics.retrieval import RetrievalMetrics, rank_metrics
from reid.evaluate.metrics.trials import TrialMetrics, over_trials
from reid.evaluate.report.results import SubsetResult


def trial(seed: int, g_pid: list[int], cmc: str = "images") -> RetrievalMetrics:
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(6, len(g_pid), generator=generator)
    q_pid = torch.arange(6) % 3
    return rank_metrics(similarity, q_pid, torch.tensor(g_pid), cmc=cmc)  # type: ignore[arg-type]


GALLERIES = [[0, 1, 2, 5, 5, 0], [0, 1, 5, 5, 5, 5], [2, 2, 1, 0, 5, 5]]  # nobody of identity 2 in the second


@pytest.fixture
def trials() -> list[RetrievalMetrics]:
    return [trial(seed, gallery) for seed, gallery in enumerate(GALLERIES)]


def test_one_trial_is_itself(trials: list[RetrievalMetrics]) -> None:
    assert over_trials(trials[:1]) is trials[0]


def test_means_are_means_of_the_trials_and_not_of_all_queries_together(
    trials: list[RetrievalMetrics],
) -> None:
    joined = over_trials(trials)
    assert isinstance(joined, TrialMetrics)
    assert joined.mAP == pytest.approx(statistics.fmean(t.mAP for t in trials))
    assert joined.mINP == pytest.approx(statistics.fmean(t.mINP for t in trials))
    assert joined.cmc == pytest.approx([statistics.fmean(t.cmc_at(k) for t in trials) for k in (1, 5, 10)])
    assert joined.chance_mAP == pytest.approx(statistics.fmean(t.chance_mAP for t in trials))
    assert [t.skipped for t in joined.trials] == [0, 2, 0]
    assert (joined.queries, joined.skipped) == (6, 0)  # every query counts in some trial


def test_the_spread_is_the_sample_deviation(trials: list[RetrievalMetrics]) -> None:
    joined = over_trials(trials)
    assert isinstance(joined, TrialMetrics)
    assert joined.spread()["mAP"] == pytest.approx(statistics.stdev([t.mAP for t in trials]))
    assert joined.spread()["R1"] == pytest.approx(statistics.stdev([t.cmc_at(1) for t in trials]))
    same = over_trials([trials[0], trials[0]])
    assert isinstance(same, TrialMetrics) and same.spread()["mAP"] == 0


def test_each_query_has_its_mean_over_the_trials_where_it_counts(trials: list[RetrievalMetrics]) -> None:
    joined = over_trials(trials)
    assert joined.ap[2] == pytest.approx(float((trials[0].ap[2] + trials[2].ap[2]) / 2))
    assert joined.first_hit[2] == trials[0].first_hit[2]
    late = over_trials(trials[1:])  # query 2 counts in the second of them only
    assert late.first_hit[2] == trials[2].first_hit[2]
    assert bool(late.valid.all())


def test_a_trial_in_which_no_query_counts_has_no_weight() -> None:
    empty, full = trial(0, [5, 5]), trial(1, [0, 1, 2])
    assert over_trials([empty, full]).mAP == pytest.approx(full.mAP)
    nothing = over_trials([empty, empty])
    assert math.isnan(nothing.mAP) and nothing.queries == 0


def test_the_identity_list_survives_the_trials() -> None:
    joined = over_trials([trial(s, g, "identities") for s, g in enumerate(GALLERIES)])
    assert joined.listed is not None
    assert joined.cmc_at(1) == pytest.approx(
        statistics.fmean(trial(s, g, "identities").cmc_at(1) for s, g in enumerate(GALLERIES))
    )


def test_a_row_of_the_report_tells_every_trial(trials: list[RetrievalMetrics]) -> None:
    numbers = SubsetResult("nir", "rgb", over_trials(trials), 6, without_source=trials[0]).numbers()
    assert numbers["mAP"] == pytest.approx(statistics.fmean(numbers["trials"]["values"]["mAP"]))
    assert numbers["trials"]["count"] == 3
    assert numbers["trials"]["skipped"] == [0, 2, 0]
    assert set(numbers["trials"]["std"]) == {"mAP", "R1", "R5", "R10", "mINP"}
    assert numbers["without_source"]["mAP"] == trials[0].mAP
    assert "trials" not in SubsetResult("nir", "rgb", trials[0], 6).numbers()
