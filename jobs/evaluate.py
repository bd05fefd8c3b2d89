"""Evaluate a run: retrieval metrics by protocol and modality subset, with a report.

python -m jobs.evaluate --preset baseline/synthetic
python -m jobs.evaluate --preset baseline/demo evaluate.subsets='[sketch, "text->rgb"]'
"""

from __future__ import annotations

from jobs.common import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    print_dry_run,
    run_uri_of,
    run_verb,
    show,
    start_ray,
)


def evaluate(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure the run of a configuration (or `run=`) and write JSON, Markdown and HTML."""
    from pipelines.evaluate import evaluate_run, report_lines
    from reid.runs import load_run

    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(settings)
        return
    run = load_run(run_uri_of(settings))
    if settings.evaluate.actors:
        start_ray(settings.ray)
    result = evaluate_run(settings, run)
    show({**result.evaluation.to_dict(), "files": result.files}, as_json, report_lines(result))


if __name__ == "__main__":
    run_verb(evaluate)
