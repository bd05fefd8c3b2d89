"""Leaderboard: every system of a benchmark, trained and evaluated with several seeds, and one table.

Runs are content-addressed like any other, so that the same command goes on where it stopped. Seeds are the
outer loop; the whole table is seen after the first of them. The budget of seconds becomes a number of steps
by the seconds a step that the same system took under the budget of steps, so both budgets are one machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.dataset.build import build
from pipelines.evaluation.evaluate import evaluate_run
from pipelines.placement.devices import device_beside_actors
from pipelines.progress import Say, duration, say
from pipelines.training.train import train_run
from reid import storage
from reid.config import Config, fingerprint, override
from reid.config.addresses import shards_uri
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, DataError, UnsupportedPairing
from reid.evaluate.protocols.pairing_names import split_pairing
from reid.modality import canonical, subset_name
from reid.models.base import ReIDModel
from reid.preflight import preflight
from reid.preflight.pairings import choose_pairings
from reid.runs.folder import RunFolder
from reid.runs.run import load_run
from reid.runs.untrained import untrained_model
from reid.studies.leaderboard.definition import SECONDS, STEPS, Benchmark, ComparedSystem
from reid.studies.leaderboard.rendering import Origin, text_lines, write_leaderboard
from reid.studies.leaderboard.scores import PairingScore, RunScores
from reid.studies.leaderboard.table import LeaderboardTable

RESULTS = "results.json"
_CONTENT = {"data", "systems", "tracks", "budget", "name", "warm_start"}


@dataclass(frozen=True)
class LeaderboardCell:
    """One system with one seed under one budget; its configuration has no number of steps yet."""

    system: ComparedSystem
    budget: str
    seed: int
    config: Config


@dataclass(frozen=True)
class LeaderboardPlan:
    """What a leaderboard consists of; nothing is read but the benchmark and presets."""

    benchmark: Benchmark
    budgets: tuple[str, ...]
    cells: tuple[LeaderboardCell, ...]
    uri: str
    answers: dict[str, tuple[list[str], dict[str, str]]]
    """System -> (pairings that it answers, pairing -> why it does not)."""
    warm: Config | None = None
    """The run that is trained first and that every system starts from."""

    def to_dict(self) -> dict[str, Any]:
        """For a dry run."""
        return {
            "benchmark": self.benchmark.name,
            "uri": self.uri,
            "budgets": list(self.budgets),
            "runs": len(self.cells),
            "warm_start": None if self.warm is None else self.warm.name,
            "answers": {name: found for name, (found, _) in self.answers.items()},
            "refused": {name: why for name, (_, why) in self.answers.items()},
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        spec = self.benchmark
        found = [
            f"{spec.name}: {len(spec.systems)} systems, {len(spec.seeds)} seeds, budgets: "
            f"{', '.join(self.budgets)}: {len(self.cells)} runs -> {self.uri}"
        ]
        if self.warm is not None:
            found.append(f"  first {self.warm.name}, which all of them start from")
        total = sum(len(track.pairings) for track in spec.tracks)
        for name, (answered, _) in self.answers.items():
            found.append(f"  {name}: answers {len(answered)} of {total} pairings")
        return found


@dataclass(frozen=True)
class LeaderboardResult:
    """The tables, one a budget, and where the files lie."""

    tables: tuple[LeaderboardTable, ...]
    uri: str

    @property
    def failed(self) -> list[RunScores]:
        """Runs that ended with an error."""
        return [run for table in self.tables for run in table.failed]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"uri": self.uri, "tables": [table.to_dict() for table in self.tables]}

    def lines(self) -> list[str]:
        """For a terminal."""
        return [*text_lines(self.tables), f"page: {self.uri}/leaderboard.html"]


def plan_leaderboard(
    benchmark: Benchmark, budgets: Sequence[str], overrides: Sequence[str] = ()
) -> LeaderboardPlan:
    """Systems × seeds × budgets, and what each system can be asked.

    The budget of seconds needs that of steps, which measures the seconds a step; it is planned with it.
    Raises ConfigError for a bad field of a system, and when systems would be measured on different data.
    """
    asked = (STEPS, SECONDS) if SECONDS in budgets else (STEPS,)
    configs = {s.name: benchmark.config(s, benchmark.seeds[0], overrides) for s in benchmark.systems}
    places = {name: shards_uri(config) for name, config in configs.items()}
    if len(set(places.values())) > 1:
        odd = next(name for name, uri in places.items() if uri != places[benchmark.baseline])
        raise ConfigError(
            f"leaderboard {benchmark.name}: {odd} would be measured on other data than {benchmark.baseline}; "
            "give data.reader and build fields for all systems, under `data`."
        )
    cells = tuple(
        LeaderboardCell(system, budget, seed, benchmark.config(system, seed, overrides))
        for budget in asked
        for seed in benchmark.seeds
        for system in benchmark.systems
    )
    content = benchmark.model_dump(mode="json", include=_CONTENT)
    key = fingerprint(content, list(overrides))
    workdir = configs[benchmark.baseline].workdir
    uri = storage.join(storage.absolute(workdir), "leaderboard", f"{benchmark.name}-{key}")
    warm = benchmark.warm_config(workdir)
    return LeaderboardPlan(benchmark, asked, cells, uri, _answers(benchmark, configs), warm)


def _answers(benchmark: Benchmark, configs: dict[str, Config]) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What each system can be asked without leaving out a part of the query or of the gallery's items."""
    found = {}
    for name, config in configs.items():
        model = untrained_model(config)
        refusals = {pairing: _refusal(config, model, pairing) for pairing in _pairings(benchmark)}
        refused = {pairing: why for pairing, why in refusals.items() if why}
        found[name] = ([pairing for pairing in refusals if pairing not in refused], refused)
    return found


def _refusal(config: Config, model: ReIDModel, pairing: str) -> str:
    """Why a model does not answer a pairing; "" if it does."""
    query, kinds = split_pairing(pairing)
    gallery = canonical(m for kind in kinds or () for m in kind)
    for side, asked, known in (
        ("query", query, model.query_modalities),
        ("gallery", gallery, model.gallery_modalities),
    ):
        if stray := [m for m in asked if m not in known]:  # a matched system would leave them out
            return f"it does not take {subset_name(stray)} on the {side} side"
    try:
        choose_pairings(
            override(config, {"evaluate.subsets": [pairing]}), model, canonical({*query, *gallery})
        )
    except (UnsupportedPairing, DataError) as error:
        return str(error)
    return ""


def _pairings(benchmark: Benchmark) -> list[str]:
    return list(dict.fromkeys(pairing for track in benchmark.tracks for pairing in track.pairings))


def run_leaderboard(
    plan: LeaderboardPlan,
    origin: Origin,
    out: Say = say,
    explain: Callable[[Exception], str] = str,
    ready: Callable[[], None] = lambda: None,
) -> LeaderboardResult:
    """Build the data, train what is not finished, evaluate all, and write the files after every run.

    The warm start, where the benchmark has one, is built and trained before the systems.

    A run that fails is listed with its reason and the others go on. `ready` starts Ray, where it is needed.
    """
    first = plan.cells[0].config
    for line in preflight(first, "build"):
        out(f"leaderboard: {line}")
    build(first, out, ready)
    origin = {**origin, "data": ShardSet.open(shards_uri(first)).fingerprint}
    if plan.warm is not None:
        weights, origin["warm start"] = _warm_start(plan.warm, out, ready)
        plan = replace(plan, cells=tuple(_started_from(cell, weights) for cell in plan.cells))
    known = _earlier(plan.uri)
    done: list[RunScores] = []
    began, trained = time.monotonic(), 0
    for number, cell in enumerate(plan.cells, 1):
        try:
            found, new = _measure(plan, cell, done, known, out, ready)
        except Exception as error:
            found, new = RunScores(cell.system.name, cell.budget, cell.seed, error=explain(error)), True
        trained += new
        done.append(found)
        write_leaderboard(plan.uri, _tables(plan, done), origin)
        each = (time.monotonic() - began) / max(trained, 1)
        left = f"{duration(each * (len(plan.cells) - number))} left" if trained else "already there"
        out(f"leaderboard: {number}/{len(plan.cells)} runs: {_told(found)}; {left}")
    return LeaderboardResult(_tables(plan, done), plan.uri)


def _warm_start(config: Config, out: Say, ready: Callable[[], None]) -> tuple[str, str]:
    """The value of `model.weights`, and what readers of the table are told."""
    build(config, out, ready)
    run = train_run(config, out, ready).run
    out(f"leaderboard: all systems start from {run.uri}")
    return f"run:{run.uri}", f"{config.name}, {run.info['steps']} steps"


def _started_from(cell: LeaderboardCell, weights: str) -> LeaderboardCell:
    return replace(cell, config=override(cell.config, {"model.weights": weights}))


def _measure(
    plan: LeaderboardPlan,
    cell: LeaderboardCell,
    done: Sequence[RunScores],
    known: dict[tuple[str, str, int, str], RunScores],
    out: Say,
    ready: Callable[[], None],
) -> tuple[RunScores, bool]:
    """One run's scores, and whether it had to be trained or measured now."""
    steps = _steps(plan.benchmark, cell, done)
    answered, refused = plan.answers[cell.system.name]
    config = override(plan.benchmark.with_steps(cell.config, steps), {"evaluate.subsets": answered or None})
    trained = train_run(config, lambda _: None, ready)
    key = (cell.system.name, cell.budget, cell.seed, trained.run.uri)
    if key in known and set(known[key].pairings or {}) == set(answered):
        return known[key], False
    pairings: dict[str, PairingScore] = {}
    if answered:
        if config.evaluate.actors:
            ready()
        run = load_run(trained.run.uri, device_beside_actors("leaderboard", config))
        results = evaluate_run(config, run, lambda _: None).evaluation.results
        for asked, result in zip(answered, results, strict=True):
            if result.identities is None:
                raise DataError(f"{asked}: no query counts.")
            numbers = result.metrics
            pairings[asked] = PairingScore(result.identities, numbers.cmc_at(1), numbers.chance_mAP)
    return replace(_costs(cell, trained.run), pairings=pairings, refused=refused), True


def _costs(cell: LeaderboardCell, run: RunFolder) -> RunScores:
    epochs = run.metrics()
    seconds = sum(epoch["seconds"] for epoch in epochs)
    rows = sum(epoch["rows_per_s"] * epoch["seconds"] for epoch in epochs)
    steps = int(run.info["steps"])
    return RunScores(
        system=cell.system.name,
        budget=cell.budget,
        seed=cell.seed,
        run=run.uri,
        steps=steps,
        step_seconds=seconds / steps,
        rows=round(rows / steps),
        parameters=run.info["parameters"]["total"],
    )


def _steps(benchmark: Benchmark, cell: LeaderboardCell, done: Sequence[RunScores]) -> int:
    """How many steps a run may take. Raises ConfigError where the seconds a step are not known."""
    if cell.budget == STEPS:
        return benchmark.budget.steps
    pace = [
        run.step_seconds
        for run in done
        if run.system == cell.system.name and run.budget == STEPS and run.error is None
    ]
    if not pace:
        raise ConfigError("no run under the budget of steps has finished, so a step's seconds are not known.")
    return max(1, int(benchmark.budget.seconds / (sum(pace) / len(pace))))


def _earlier(uri: str) -> dict[tuple[str, str, int, str], RunScores]:
    """What an earlier call has measured; nothing where the file is missing or of another version."""
    where = storage.join(uri, RESULTS)
    if not storage.exists(where):
        return {}
    runs = [RunScores.from_dict(tree) for tree in storage.read_json(where).get("runs", [])]
    return {(r.system, r.budget, r.seed, r.run): r for r in runs if r.error is None}


def _tables(plan: LeaderboardPlan, done: Sequence[RunScores]) -> tuple[LeaderboardTable, ...]:
    return tuple(LeaderboardTable(plan.benchmark, budget, tuple(done)) for budget in plan.budgets)


def _told(run: RunScores) -> str:
    name = f"{run.system}, equal {run.budget}, seed {run.seed}"
    if run.error is not None:
        return f"{name} failed: {run.error}"
    scores = [score.identities.mAP for score in (run.pairings or {}).values()]
    mean = f"mean mAP {100 * sum(scores) / len(scores):.1f}" if scores else "answers nothing"
    return f"{name}: {mean} over {len(scores)} pairings, {run.steps} steps"
