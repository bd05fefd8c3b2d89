"""Train and evaluate variants of a system with several seeds, and print one table.

Reads a built shard set, and a ladder: a list of variants with the fields that each changes. Most systems
have one; ablate.ladder=FILE.yaml names another. Writes a run folder for every variant and seed to
<workdir>/train, and the table (mean and standard deviation over seeds) to <workdir>/ablate. The same
command goes on where it stopped. --dry-run lists the runs and which are finished.

Example:

  python -m jobs.ablate --preset mfrnet/synthetic 'ablate.seeds=[0, 1, 2]'
  python -m jobs.ablate --config mine.yaml ablate.ladder=ladder.yaml 'ablate.rows=[baseline, mine]'
"""

from __future__ import annotations

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    first_cause,
    load_config,
    run_verb,
    show,
    start_ray,
)
from jobs.dry_run import DryRunOption, print_dry_run


def ablate(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a ladder of configurations and print its table; --dry-run lists what is finished."""
    from pipelines.ablate import ablate_runs, plan_ablation, prepare
    from reid.errors import AnyReIDError, TrainingError
    from reid.preflight import preflight

    settings = load_config(config, preset, overrides)
    plan = plan_ablation(settings)
    if dry_run:
        checks = preflight(settings, "ablate", unbuilt=True)
        print_dry_run(settings, config or preset, dry_run, as_json, checks=checks, ablate=plan.to_dict())
        return
    campaign = prepare(plan)
    if campaign.needs_ray:
        start_ray(settings.ray)

    def explain(error: Exception) -> str:
        text = str(error) if isinstance(error, AnyReIDError) else first_cause(error)
        return text.strip().partition("\n")[0]

    result = ablate_runs(campaign, explain=explain, raise_errors=debug)
    show(result.to_dict(), as_json, result.lines())
    failed = result.table.failed
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(result.table.runs)} runs failed (the same command tries them again); "
            f"first: {failed[0].error}"
        )


if __name__ == "__main__":
    run_verb(ablate)
