"""Search for good values of any fields of the configuration.

Reads a built shard set, and tune.space: the fields with the values to draw from. Trains tune.trials short
runs and stops bad ones early. Writes the trials and a table to <workdir>/tune. The same command goes on
where it stopped.

Example:

  python -m jobs.tune --preset baseline/synthetic tune.trials=6 \\
      'tune.space={train.optim.lr: {loguniform: [1e-4, 1e-2]}, model.id_weight: {choice: [0.25, 1.0]}}'
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


def tune(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a search campaign and print the best trials."""
    from pipelines.tune import result_lines, tune_runs
    from reid.errors import TrainingError
    from reid.preflight import preflight

    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(
            settings,
            config or preset,
            dry_run,
            as_json,
            checks=preflight(settings, "tune", unbuilt=True),
        )
        return
    result = tune_runs(settings, ready=lambda: start_ray(settings.ray))
    show({"trials": result.trials, "uri": result.uri}, as_json, result_lines(result))
    failed = [trial for trial in result.trials if trial["error"] is not None]
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(result.trials)} trials failed (the same command tries them again); "
            f"first: {failed[0]['error']}"
        )


if __name__ == "__main__":
    run_verb(tune)
