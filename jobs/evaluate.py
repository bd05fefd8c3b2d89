"""Measure how well a run retrieves, for each subset of modalities, and write a report.

Reads a shard set and a run folder: the one that this configuration trained, or run=FOLDER. Writes
report.html, report.json and report.md to the run folder, in evaluate/. --compare reads finished reports
instead and writes one page that sets them side by side.

Example:

  python -m jobs.evaluate --preset baseline/demo evaluate.subsets='[sketch, "text->rgb"]'
  python -m jobs.evaluate --compare runs/train/a/1f0c --compare runs/train/b/77aa --out a-and-b
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
    missing_run,
    run_uri_of,
    run_verb,
    show,
    start_ray,
)
from jobs.dry_run import DryRunOption, print_dry_run
from reid.errors import UsageError

CompareOption = Annotated[
    list[str] | None,
    typer.Option(
        "--compare",
        help="A report.json, a run folder, or a folder of runs (its newest); give two or more to see them "
        "side by side.",
    ),
]
OutOption = Annotated[
    str | None, typer.Option("--out", help="Folder of the comparison; default: runs/compare/<fingerprint>.")
]


def evaluate(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    compare: CompareOption = None,
    out: OutOption = None,
) -> None:
    """Measure the run of a configuration (or `run=`) and write a report; or compare finished ones."""
    if compare:
        if config or preset or overrides or dry_run:
            raise UsageError("--compare reads finished reports; it goes with --out and --json only.")
        _compare(compare, out, as_json)
        return
    if out is not None:
        raise UsageError("--out goes with --compare; a run's own report lies in its folder.")
    from pipelines.devices import device_beside_actors
    from pipelines.evaluation.evaluate import evaluate_run, report_lines
    from reid.evaluate.plan import plan_evaluation
    from reid.preflight import preflight
    from reid.runs.run import load_run

    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(
            settings,
            config or preset,
            dry_run,
            as_json,
            checks=[*preflight(settings, "evaluate", unbuilt=True), *missing_run(settings)],
        )
        return
    preflight(settings, "evaluate")  # before Ray takes its seconds; evaluate_run tells its lines
    run = load_run(run_uri_of(settings), device_beside_actors(settings))
    plan = plan_evaluation(settings)
    if settings.evaluate.actors:
        start_ray(settings.ray)
    result = evaluate_run(settings, run, plan=plan)
    show({**result.evaluation.to_dict(), "files": result.files}, as_json, report_lines(result))


def _compare(reports: list[str], out: str | None, as_json: bool) -> None:
    from reid.config import fingerprint
    from reid.evaluate.report.comparison import (
        compare_lines,
        compare_reports,
        find_report,
        read_report,
        write_comparison,
    )

    uris = [find_report(uri) for uri in reports]
    comparison = compare_reports([read_report(uri) for uri in uris])
    files = write_comparison(comparison, out or f"runs/compare/{fingerprint(*uris)}")
    show({**comparison.to_dict(), "files": files}, as_json, compare_lines(comparison, files))


if __name__ == "__main__":
    run_verb(evaluate)
