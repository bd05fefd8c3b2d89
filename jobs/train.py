"""Train a model on a built shard set.

Reads the shard set that the configuration builds, or data.shards. Writes a run folder to
<workdir>/train/<name>/<fingerprint>: weights, configuration, metrics and checkpoints. The same command
resumes from the last checkpoint; when the run is finished, it only prints it.

Example:

  python -m jobs.train --preset baseline/synthetic train.epochs=2
"""

from __future__ import annotations

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


def train(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train the run of a configuration into its run folder."""
    from pipelines.train import train_run
    from reid.preflight import preflight
    from reid.train.checks import of_few

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
    result = train_run(settings, ready=lambda: start_ray(settings.ray))
    info = result.run.info
    last = (result.run.metrics() or [{}])[-1]
    few = of_few(info.get("validation_identities"))
    best = "" if info["best_metric"] is None else f", best val mAP {info['best_metric']:.3f}{few}"
    loss = f", loss {last['loss']:.3f}" if "loss" in last else ""
    state = "trained" if result.trained else "already finished"
    show(
        {"run": result.run.uri, "trained": result.trained, "info": info, "last": last},
        as_json,
        [result.run.uri, f"  {state}: {info['epochs']} epochs, {info['steps']} steps{loss}{best}"],
    )


if __name__ == "__main__":
    run_verb(train)
