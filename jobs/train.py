"""Train a model on a built shard set.

Reads the shard set that the configuration builds, or data.shards. Writes a run folder to
<workdir>/train/<name>/<fingerprint>: weights, configuration, metrics and checkpoints. The same command
resumes from the last checkpoint; when the run is finished, it only prints it. A changed configuration is
another run: what it could go on from is told, and --continue does it.

Example:

  python -m jobs.train --preset baseline/synthetic train.epochs=2

A step whose loss or gradient is not finite is recorded in <run>/nonfinite/; --repro replays it alone, and
prints the losses by term and the first module and parameter that are not finite:

  python -m jobs.train --repro runs/train/mine/0123456789ab/nonfinite/epoch-0001-step-000004
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    run_verb,
    show,
    start_ray,
)
from jobs.dry_run import DryRunOption, print_dry_run

ReproOption = Annotated[
    str | None,
    typer.Option(
        "--repro", metavar="FOLDER", help="Replay the step recorded in this folder, which was not finite."
    ),
]


def train(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    repro: ReproOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    continue_from: Annotated[
        str | None,
        typer.Option(
            "--continue",
            metavar="RUN",
            help="Begin with the last checkpoint of this run folder, of another configuration.",
        ),
    ] = None,
) -> None:
    """Train the run of a configuration into its run folder."""
    from pipelines.training.train import train_run
    from reid.preflight import preflight
    from reid.train.validation.checks import of_few

    if repro is not None:
        _replay(repro, as_json)
        return
    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(
            settings,
            config or preset,
            dry_run,
            as_json,
            checks=preflight(settings, "train", unbuilt=True),
        )
        return
    result = train_run(settings, ready=lambda: start_ray(settings.ray), continue_from=continue_from)
    info = result.run.info
    last = (result.run.metrics() or [{}])[-1]
    few = of_few(info.get("validation_identities"))
    best = "" if info["best_metric"] is None else f", {info['selection']} {info['best_metric']:.3f}{few}"
    loss = f", loss {last['loss']:.3f}" if "loss" in last else ""
    state = "trained" if result.trained else "already finished"
    show(
        {"run": result.run.uri, "trained": result.trained, "info": info, "last": last},
        as_json,
        [result.run.uri, f"  {state}: {info['epochs']} epochs, {info['steps']} steps{loss}{best}"],
    )


def _replay(folder: str, as_json: bool) -> None:
    from dataclasses import asdict

    from reid.train.replay import replay

    found = replay(folder)
    show(asdict(found), as_json, found.lines())


if __name__ == "__main__":
    run_verb(train)
