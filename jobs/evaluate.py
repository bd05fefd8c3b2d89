"""Measure how well a run retrieves, for each subset of modalities, and write a report.

Reads a shard set and a run folder: the one that this configuration trained, or run=FOLDER. Writes
report.html, report.json and report.md to the run folder, in evaluate/. --compare reads finished reports
instead and writes one page that sets them side by side; --average writes the mean of each row over them, e.g.
over RegDB's ten splits.

Example:

  python -m jobs.evaluate --preset baseline/demo evaluate.subsets='[sketch, "text->rgb"]'
  python -m jobs.evaluate --compare runs/train/a/1f0c --compare runs/train/b/77aa --out a-and-b
  python -m jobs.evaluate --average runs/train/split1 --average runs/train/split2 --out both-splits
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
AverageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--average",
        help="A report.json, a run folder, or a folder of runs (its newest); give two or more of one "
        "protocol to get the mean of each row over them.",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        help="Folder of the comparison or the mean; default: runs/compare/<fingerprint> or runs/average/….",
    ),
]


def evaluate(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
    compare: CompareOption = None,
    average: AverageOption = None,
    out: OutOption = None,
) -> None:
    """Measure the run of a configuration (or `run=`) and write a report; or compare or average others."""
    if compare or average:
        name = "--compare" if compare else "--average"
        if config or preset or overrides or dry_run or (compare and average):
            raise UsageError(f"{name} reads finished reports; it goes with --out and --json only.")
        if compare:
            _compare(compare, out, as_json)
        else:
            _average(average or [], out, as_json)
        return
    if out is not None:
        raise UsageError("--out goes with --compare and --average; a run's own report lies in its folder.")
    from pipelines.evaluation.evaluate import evaluate_run, report_lines
    from pipelines.placement.devices import device_beside_actors
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
    run = load_run(run_uri_of(settings), device_beside_actors("evaluate", settings))
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


def _average(reports: list[str], out: str | None, as_json: bool) -> None:
    from reid.config import fingerprint
    from reid.evaluate.report.averaging import average_lines, average_reports, write_average
    from reid.evaluate.report.comparison import find_report, read_report

    uris = [find_report(uri, "--average") for uri in reports]
    average = average_reports([read_report(uri) for uri in uris])
    files = write_average(average, out or f"runs/average/{fingerprint(*uris)}")
    show({**average, "files": files}, as_json, average_lines(average, files))


if __name__ == "__main__":
    run_verb(evaluate)
