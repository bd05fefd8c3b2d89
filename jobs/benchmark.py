"""Measure speed and memory here, as ratios to a plain reference in the same run.

GROUP says what to measure. model: training and embedding steps of the systems. sharing: subsets of
modalities from shared passes. moe: mixtures of experts. evaluate: large evaluations (minutes). stream:
training batches from disk. build: shards made on Ray against a plain loop. Reads no data
and writes nothing that stays. Prints a line for each measurement: its value, the reference, the ratio, and
whether the target is met.

Example:

  python -m jobs.benchmark model --system mfrnet
  python -m jobs.benchmark sharing --rows 2
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, start_ray
from reid.errors import UsageError

GROUPS = ("model", "sharing", "moe", "evaluate", "stream", "build")


def benchmark(
    group: Annotated[str, typer.Argument(help=f"What to measure: {', '.join(GROUPS)}.")],
    system: Annotated[list[str] | None, typer.Option(help="model, sharing: only these systems.")] = None,
    rows: Annotated[int, typer.Option(min=2, help="model, sharing: captures in a batch.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each competitor; the best counts.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compiled: Annotated[bool, typer.Option("--compiled", help="model: torch.compile, too.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print one line a measurement: value, reference, ratio and whether its target is met."""
    import torch

    from reid.config import RayConfig
    from reid.config.typed import did_you_mean
    from reid.studies.benchmarks.build import build_rows
    from reid.studies.benchmarks.evaluate import evaluate_rows
    from reid.studies.benchmarks.model import SYSTEMS, model_rows
    from reid.studies.benchmarks.moe import moe_rows
    from reid.studies.benchmarks.sharing import PRESETS, sharing_rows
    from reid.studies.benchmarks.stream import stream_rows

    if group not in GROUPS:
        raise UsageError(f"Unknown group {group!r}.{did_you_mean(group, GROUPS)}")
    known = list(PRESETS) if group == "sharing" else list(SYSTEMS)
    for name in system or ():
        if name not in known:
            raise UsageError(f"--system: unknown {name!r}.{did_you_mean(name, known)}")
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here.")
    if group == "moe":
        measured = moe_rows(repeats, place)
    elif group == "sharing":
        measured = sharing_rows(system or known, rows, repeats, place)
    elif group == "evaluate":
        measured = evaluate_rows(repeats)
    elif group == "stream":
        measured = stream_rows(repeats)
    elif group == "build":
        from pipelines.dataset.stages import run_shards

        start_ray(RayConfig())
        measured = build_rows(repeats, run_shards)
    else:
        measured = model_rows(system or SYSTEMS, rows, repeats, place, compiled)
    found = []
    for row in measured:
        found.append(row.to_json())
        print(row.line(), file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    run_verb(benchmark)
