"""Means, intervals and differences of a leaderboard are those of its runs, and its sentences are honest."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from reid.errors import DataError
from reid.evaluate.metrics.identity_scores import IdentityScores
from reid.studies.leaderboard.definition import STEPS, Benchmark
from reid.studies.leaderboard.rendering import markdown, page
from reid.studies.leaderboard.scores import PairingScore, RunScores, TrackScores
from reid.studies.leaderboard.table import LeaderboardTable

IDENTITIES = 40
ONE, TWO = "nir->rgb", "rgb->nir"


def score(quality: float, seed: int = 0, spread: float = 0.1) -> PairingScore:
    """40 identities with two queries each."""
    drawn = np.random.default_rng(seed).normal(quality, spread, IDENTITIES).clip(0, 1)
    twice = np.full(IDENTITIES, 2.0)
    return PairingScore(IdentityScores(np.arange(IDENTITIES), 2 * drawn, twice), quality, 0.05)


def run(system: str, seed: int, **pairings: PairingScore) -> RunScores:
    named = {"one": ONE, "two": TWO}
    return RunScores(
        system, STEPS, seed, "runs/x", 10, 0.5, 64, 1000, {named[k]: v for k, v in pairings.items()}
    )


SPEC = Benchmark.model_validate(
    {
        "name": "small",
        "about": "<b>two</b> systems",
        "baseline": "mean",
        "seeds": [0, 1],
        "budget": {"steps": 10, "seconds": 1},
        "systems": [
            {"name": name, "preset": "baseline/synthetic"} for name in ("mean", "good", "poor", "odd")
        ],
        "tracks": [
            {"name": "crossing", "about": "one way", "pairings": [ONE]},
            {"name": "both", "about": "both ways", "pairings": [ONE, TWO]},
        ],
    }
)
RUNS = (
    *(run("mean", s, one=score(0.5, s), two=score(0.4, s + 10)) for s in (0, 1)),
    *(run("good", s, one=score(0.7, s + 20), two=score(0.6, s + 30)) for s in (0, 1)),
    *(run("poor", s, one=score(0.2, s + 40)) for s in (0, 1)),
    RunScores("odd", STEPS, 0, error="ConfigError: no"),
    RunScores("odd", STEPS, 1, error="ConfigError: no"),
)
TABLE = LeaderboardTable(SPEC, STEPS, RUNS)


def test_a_number_is_the_mean_over_seeds_and_pairings() -> None:
    found = TABLE.tracks["both"]
    by_hand = [np.mean([s.identities.mAP for s in (r.pairings or {}).values()]) for r in RUNS[:2]]
    assert found.mean("mean") == pytest.approx(np.mean(by_hand))
    assert found.by_seed("mean") == pytest.approx({0: by_hand[0], 1: by_hand[1]})


def test_an_interval_is_that_of_drawn_identities() -> None:
    """One seed and one pairing: the width is that of a mean of 40 independent identities."""
    alone = TrackScores([ONE], {"mean": [run("mean", 0, one=score(0.5))]})
    found = alone.estimate("mean")
    values = score(0.5).identities.total / 2
    half = 1.96 * values.std() / np.sqrt(IDENTITIES)
    assert found.low == pytest.approx(found.mean - half, abs=0.15 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.15 * half)


def test_a_difference_is_drawn_with_the_same_identities() -> None:
    """A system that is better by the same amount on every identity is better without any doubt."""
    base = score(0.5, spread=0.2).identities
    better = IdentityScores(base.pid, base.total + 0.02 * base.count, base.count)
    runs = {
        "mean": [run("mean", 0, one=PairingScore(base, 0.5, 0.05))],
        "good": [run("good", 0, one=PairingScore(better, 0.5, 0.05))],
    }
    found = TrackScores([ONE], runs).difference("good", "mean")
    assert (found.low, found.high) == pytest.approx((0.02, 0.02))
    assert found.beyond_zero


def test_seeds_that_disagree_widen_the_interval() -> None:
    def estimate(other: float) -> float:
        runs = {"mean": [run("mean", 0, one=score(0.5)), run("mean", 1, one=score(other))]}
        found = TrackScores([ONE], runs).estimate("mean")
        return found.high - found.low

    assert estimate(0.8) > 2 * estimate(0.5)


def test_different_queries_are_not_compared() -> None:
    fewer = score(0.5).identities
    cut = PairingScore(IdentityScores(fewer.pid[:-1], fewer.total[:-1], fewer.count[:-1]), 0.5, 0.05)
    with pytest.raises(DataError, match="different queries"):
        TrackScores([ONE], {"a": [run("a", 0, one=score(0.5))], "b": [run("b", 0, one=cut)]})


def test_a_system_has_a_number_only_where_it_answers_the_whole_track() -> None:
    both = SPEC.tracks[1]
    assert TABLE.cell("poor", both).text == "answers 1 of 2"
    assert TABLE.cell("odd", both).text == "–"
    assert TABLE.ranking(both) == ["good", "mean"]


def test_sentences_say_who_leads_who_loses_and_what_failed() -> None:
    said = "\n".join(TABLE.sentences())
    assert "crossing: good has the highest mAP" in said
    assert "it leads mean by" in said
    assert "poor is worse than mean on crossing" in said
    assert "failed: odd (seed 0), odd (seed 1): ConfigError: no" in said


def test_a_lead_within_chance_is_called_that() -> None:
    runs = (
        *(run("mean", s, one=score(0.5, s, 0.3), two=score(0.5, s)) for s in (0, 1)),
        *(run("good", s, one=score(0.5, s + 7, 0.3), two=score(0.5, s)) for s in (0, 1)),
    )
    table = LeaderboardTable(SPEC, STEPS, runs)
    assert "may be chance" in table.sentences()[0]


def test_runs_are_read_as_they_were_written() -> None:
    for original in RUNS:
        again = RunScores.from_dict(json.loads(json.dumps(original.to_dict())))
        assert again.to_dict() == original.to_dict()
    scored = RunScores.from_dict(RUNS[0].to_dict())
    assert replace(TABLE, runs=(scored, *RUNS[1:])).grid() == TABLE.grid()


def test_files_hold_the_numbers_and_escape_texts() -> None:
    text = markdown([TABLE], {"commit": "abc"})
    assert "| good | " in text
    assert "`abc`" in text
    html = page([TABLE], {"commit": "abc"})
    assert "<b>two</b>" not in html
    assert f"{100 * TABLE.tracks['both'].mean('good'):.1f}" in html
    assert "<script" not in html
