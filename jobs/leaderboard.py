"""Train and evaluate every system on one benchmark, and print one table with intervals.

Reads nothing but the benchmark: a shipped one, or a YAML file with systems, tracks, seeds and budgets.
The embedded one renders its pictures and first trains small towers on other people, which every system
starts from. Writes shards, a run folder for every system, seed and budget, and the
table (Markdown, JSON and one page) to <workdir>/leaderboard. Every system trains for equally many steps; with
--budget seconds also for an equal time, measured on this machine. The same command goes on where it stopped.
KEY=VALUE changes a field of every system. --dry-run shows what each system can be asked.

Example:

  python -m jobs.leaderboard
  python -m jobs.leaderboard embedded --system mfrnet --seed 0 --budget steps
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, first_cause, run_verb, show, start_ray
from jobs.dry_run import DryRunOption
from reid.errors import AnyReIDError, TrainingError, UsageError


def leaderboard(
    benchmark: Annotated[
        str, typer.Argument(help="Shipped benchmark, or a YAML file.", metavar="BENCHMARK")
    ] = "embedded",
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Fields to change for every system, e.g. workdir=/data/runs.", metavar="KEY=VALUE"
        ),
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="Only this system and the baseline; may be given again.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be given again.")] = None,
    budget: Annotated[str, typer.Option(help="steps, or seconds: both budgets.")] = "seconds",
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare all systems on one benchmark."""
    from pipelines.leaderboard import plan_leaderboard, run_leaderboard
    from reid.studies.leaderboard.definition import BUDGETS, load_benchmark

    if "=" in benchmark:  # the benchmark was left out
        benchmark, overrides = "embedded", [benchmark, *(overrides or [])]
    if budget not in BUDGETS:
        raise UsageError(f"--budget {budget}: give steps, or seconds (steps first, then equal seconds).")
    spec = load_benchmark(benchmark).pick(system, seed)
    plan = plan_leaderboard(spec, [budget], overrides or [])
    if dry_run:
        show(plan.to_dict(), as_json, plan.lines())
        return
    started: list[bool] = []

    def ready() -> None:
        if not started:
            start_ray(plan.cells[0].config.ray)
            started.append(True)

    def explain(error: Exception) -> str:
        text = str(error) if isinstance(error, AnyReIDError) else first_cause(error)
        return text.strip().partition("\n")[0]

    result = run_leaderboard(plan, {"command": _command(), "commit": _commit()}, explain=explain, ready=ready)
    show(result.to_dict(), as_json, result.lines())
    failed = result.failed
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(plan.cells)} runs failed (the same command tries them again); "
            f"first: {failed[0].system}, seed {failed[0].seed}: {failed[0].error}"
        )


def _command() -> str:
    import sys

    return " ".join(["anyreid", "leaderboard", *sys.argv[1:]])


def _commit() -> str:
    """The commit of the source, with a plus sign when files differ from it; "unknown" outside a checkout."""
    where = Path(__file__).parent
    quiet = {"cwd": where, "capture_output": True, "text": True, "env": {**os.environ, "LC_ALL": "C"}}
    try:
        found = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], check=True, **quiet)  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], check=True, **quiet)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return str(found.stdout).strip() + ("+" if str(changed.stdout).strip() else "")


if __name__ == "__main__":
    run_verb(leaderboard)
