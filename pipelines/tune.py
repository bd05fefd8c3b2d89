"""Tune: search over any config fields with Ray Tune, ASHA and Optuna; resumable, with readable results.

A trial is our plain training loop in one Tune worker (no nested trainer), on the validation identities. The
campaign's folder is named by the config, the data and the search space, so that calling it again goes on.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.placement.devices import device_here
from pipelines.placement.gpus import gpus_each
from pipelines.placement.resources import Request
from pipelines.placement.waiting import give_up, wait_for, watched
from pipelines.progress import Say, say, short
from pipelines.stopping import tune_stops
from pipelines.training.train import resolve_run
from reid import storage
from reid.config import Config, load, override
from reid.config.addresses import tune_uri
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, TrainingError
from reid.preflight import preflight
from reid.train.loop import train
from reid.train.naming.numbers import code_fingerprint
from reid.train.reports import EpochReport, TrainingObserver
from reid.train.validation.checks import validation_notes

STOPPING = "tune: stopping; finished trials are kept, a second Ctrl-C does not wait for the others"


@dataclass(frozen=True)
class TuneResult:
    """Trials, best first, and where the tables lie."""

    trials: list[dict[str, Any]]
    uri: str
    metric: str


def tune_runs(config: Config, out: Say = say, ready: Callable[[], None] = lambda: None) -> TuneResult:
    """Run or go on with the config's search. Raises, before anything starts, what `preflight` refuses.

    `ready` starts Ray and is called after that. Ctrl-C and SIGTERM end the search with its state kept:
    finished trials are not run again, others begin anew.
    """
    import optuna
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from pipelines.trial_lines import TrialLines

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for line in preflight(config, "tune"):
        out(f"tune: {line}")
    config, _ = resolve_run(config)
    settings = config.tune
    epochs = settings.epochs or config.train.epochs
    shards = ShardSet.open(str(config.data.shards))
    uri = tune_uri(config, shards.fingerprint, code_fingerprint(config))
    fs, path = storage.resolve(uri)
    storage.make_dir(uri)
    ready()
    gpus = gpus_each("tune", config, out)
    requests = tune_requests(config, gpus)
    wait_for("tune", requests, config.ray, out)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = int(resources.get("CPU", 1))
    # One CPU stays free for the driver; a trial trains in its own single worker.
    fitting = (cpus - 1) // config.train.cpus_per_worker
    if gpus:
        fitting = min(fitting, int(resources.get("GPU", 0) / gpus + 1e-6))
    concurrent = settings.concurrent or max(1, fitting)
    trainable = tune.with_resources(
        tune.with_parameters(trial, tree=config.model_dump(mode="json"), epochs=epochs, gpus=gpus),
        {"cpu": config.train.cpus_per_worker, "gpu": gpus},
    )
    name = "campaign"
    experiment = storage.join(uri, name)
    if tune.Tuner.can_restore(storage.resolve(experiment)[1], storage_filesystem=fs):
        out(f"tune: going on with {experiment}")
        tuner = tune.Tuner.restore(
            storage.resolve(experiment)[1],
            trainable=trainable,
            storage_filesystem=fs,
            resume_unfinished=True,
            restart_errored=True,
        )
    else:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                num_samples=settings.trials,
                max_concurrent_trials=concurrent,
                search_alg=OptunaSearch(
                    search_space(config), metric="score", mode=settings.mode, seed=config.seed
                ),
                scheduler=ASHAScheduler(
                    time_attr="epoch",
                    metric="score",
                    mode=settings.mode,
                    max_t=max(epochs, settings.grace_epochs + 1),
                    grace_period=settings.grace_epochs,
                    reduction_factor=settings.reduction,
                ),
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=path,
                storage_filesystem=fs,
                verbose=0,
                callbacks=[TrialLines(out, settings.trials, epochs, concurrent)],
            ),
        )
    out(f"tune: {settings.trials} trials of at most {epochs} epochs, {concurrent} at a time")
    with watched("tune", requests, config.ray, out, store=uri), tune_stops(lambda: out(STOPPING)):
        try:
            grid = tuner.fit()
        except Exception:
            give_up()  # Tune wraps the error that ended it for want of room
            raise
    results = [grid[i] for i in range(len(grid))]
    if len(results) < settings.trials:
        raise TrainingError(
            f"tune: Ray Tune ended after {len(results)} of {settings.trials} trials; run the same command "
            "again."
        )
    trials = [_row(result, settings.metric) for result in results]
    if all(t["score"] is None for t in trials):
        first = next((str(r.error) for r in results if r.error), "no trial reported")
        raise TrainingError(f"tune: every trial failed; first: {first.strip().splitlines()[-1]}")
    rows = ranked(trials, settings.mode)
    _write_tables(uri, rows, settings.metric)
    return TuneResult(rows, uri, settings.metric)


def tune_requests(config: Config, gpus: float) -> list[Request]:
    """What a search asks of the cluster to begin: room for one trial."""
    needs = {"CPU": config.train.cpus_per_worker, "GPU": gpus}
    fields = {f"train.{name}": getattr(config.train, name) for name in ("cpus_per_worker", "gpus_per_worker")}
    return [Request("trial", 1, needs, fields)]


def trial(params: dict[str, Any], tree: dict[str, Any], epochs: int, gpus: float) -> None:
    """One trial: train with the drawn fields, reporting the metric each validated epoch."""
    from ray import tune

    short = {"train.epochs": epochs, "train.val.every_epochs": 1}
    config = load(tree)
    if config.tune.steps_per_epoch is not None:
        short["train.steps_per_epoch"] = config.tune.steps_per_epoch
    config = override(config, {**params, **short})
    metric = config.tune.metric
    last: dict[str, float] = {}

    class Scores(TrainingObserver):
        def epoch(self, report: EpochReport) -> None:
            last.update({k: float(v) for k, v in report.metrics.items() if isinstance(v, int | float)})
            if metric not in last:
                raise ConfigError(
                    f"tune.metric: {metric!r} is not reported; known: {', '.join(sorted(last))}. For val/ "
                    "set train.val.fraction above 0."
                )
            score = last[metric]
            tune.report({"score": score if math.isfinite(score) else -1.0, "epoch": report.epoch, **last})

    device = device_here(gpus, "train.gpus_per_worker")
    train(config, "", device=device, observer=Scores(), finish=False)


def search_space(config: Config) -> dict[str, Any]:
    """The space in Ray Tune's terms."""
    from ray import tune

    makers: dict[str, Callable[[list[Any]], Any]] = {
        "choice": lambda v: tune.choice(v),
        "uniform": lambda v: tune.uniform(*v),
        "loguniform": lambda v: tune.loguniform(*v),
        "randint": lambda v: tune.randint(*v),
    }
    return {
        field: makers[kind](values)
        for field, entry in config.tune.space.items()
        for kind, values in entry.items()
    }


def ranked(trials: Sequence[dict[str, Any]], mode: str) -> list[dict[str, Any]]:
    """Best first, then the failed ones. Equal scores go by their drawn fields, then by the trial's name.

    Ray lists the trials of a campaign that it reads again in another order: it may not decide.
    """
    sign = -1.0 if mode == "max" else 1.0

    def place(trial: dict[str, Any]) -> tuple[bool, float, str, str]:
        score = trial["score"]
        drawn = json.dumps(trial["params"], sort_keys=True, default=str)
        return score is None, 0.0 if score is None else sign * score, drawn, trial["trial"]

    return sorted(trials, key=place)


def _row(result: Any, metric: str) -> dict[str, Any]:
    metrics = result.metrics or {}
    return {
        "score": metrics.get("score"),
        "metric": metric,
        "epochs": metrics.get("epoch"),
        "identities": metrics.get("val/identities"),
        "error": None if result.error is None else str(result.error).strip().splitlines()[-1],
        "params": dict(result.config or metrics.get("config") or {}),
        "trial": os.path.basename(result.path or ""),
    }


def _write_tables(uri: str, rows: list[dict[str, Any]], metric: str) -> None:
    storage.write_json(storage.join(uri, "results.json"), rows)
    fields = sorted({name for row in rows for name in row["params"]})
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["rank", metric, "epochs", "identities", *fields, "error"])
    lines = [f"| rank | {metric} | epochs | {' | '.join(fields)} |", "|---:" * (3 + len(fields)) + "|"]
    for rank, row in enumerate(rows, 1):
        values = [short(row["params"].get(f)) for f in fields]
        score = "failed" if row["score"] is None else f"{row['score']:.4f}"
        writer.writerow([rank, score, row["epochs"], row["identities"], *values, row["error"] or ""])
        lines.append(f"| {rank} | {score} | {row['epochs']} | {' | '.join(values)} |")
    storage.write_bytes(storage.join(uri, "results.csv"), stream.getvalue().encode())
    lines += ["", *notes] if (notes := score_notes(rows, metric)) else []
    storage.write_bytes(storage.join(uri, "results.md"), ("\n".join(lines) + "\n").encode())


def score_notes(rows: Sequence[dict[str, Any]], metric: str) -> list[str]:
    """What to know about the scores: on how few identities they were measured."""
    known = [row["identities"] for row in rows if row["identities"] is not None]
    return validation_notes(int(min(known))) if known and metric.startswith("val/") else []


def result_lines(result: TuneResult) -> list[str]:
    """The best trials for a terminal."""
    lines = [f"{'rank':<5}{result.metric:>10}{'epochs':>8}  fields"]
    for rank, row in enumerate(result.trials[:10], 1):
        score = "failed" if row["score"] is None else f"{row['score']:.3f}"
        fields = ", ".join(f"{k}={short(v)}" for k, v in row["params"].items())
        lines.append(f"{rank:<5}{score:>10}{row['epochs'] or 0:>8g}  {fields}")
    best = " ".join(f"{k}={short(v)}" for k, v in result.trials[0]["params"].items())
    notes = score_notes(result.trials, result.metric)
    return [*lines, *notes, f"best: {best}", f"tables: {result.uri}/results.md"]
