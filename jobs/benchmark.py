"""Measure speed and memory here, as ratios to a plain reference in the same run.

GROUP says what to measure. model: training and embedding steps of the systems. sharing: subsets of
modalities from shared passes. moe: mixtures of experts. evaluate: large evaluations (minutes). stream:
training batches from disk. train: what training costs around its steps, in parts that --part chooses, on a
quiet machine (minutes); collectives and bytes of every system's step at 2, 8 and 64 ranks are counted in this
process, and the efficiency follows from --bandwidth, --latency and --step. build: shards on Ray against a
plain loop. manifest: memory of each process that works on a manifest of --captures and 20 times fewer
identities (10^8: half an hour). gpu: in less than eight minutes on the first GPU, every system's step against
the CPU's numbers and its speed, experts, transfers, generators, evaluator; a check that cannot run says why,
and one that fails makes the exit code 1. crossing: whether a small network learns to find rendered photos by
other modalities (minutes a seed). serve: the endpoint under 1 to 64 clients against the same searches in a
loop, with CPU time by process. Reads no data and writes nothing that stays. Prints a line for each
measurement: its value, the reference, the ratio, and whether the target is met.

Example:

  python -m jobs.benchmark model --system mfrnet
  python -m jobs.benchmark sharing --rows 2
  python -m jobs.benchmark train --part waiting --part checkpoint
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, start_ray
from reid.errors import UsageError

if TYPE_CHECKING:
    from reid.config import Config

GROUPS = (
    "model",
    "sharing",
    "moe",
    "evaluate",
    "stream",
    "train",
    "build",
    "manifest",
    "gpu",
    "crossing",
    "serve",
)
ON_DEVICE = ("model", "sharing", "moe", "gpu")
"""Those that compute on --device; the others choose none."""


def benchmark(
    group: Annotated[str, typer.Argument(help=f"What to measure: {', '.join(GROUPS)}.")],
    system: Annotated[
        list[str] | None, typer.Option(help="model, sharing, gpu, train: only these systems.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="train: only these parts. loader: batches per core and by number of processes; waiting: for "
            "data, beside a step; metrics: appended against rewritten; checkpoint: time and bytes; ray: a "
            "training on Ray Train against a bare loop; collectives: calls and bytes of a step at many ranks."
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="model, sharing, gpu, train: captures in a batch (train: of a rank); default: 8, gpu 64.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each competitor; the best counts.")] = 5,
    device: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(ON_DEVICE)}: cpu, cuda, or auto: cuda where it is there. "
            "Default: auto; gpu: cuda."
        ),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="gpu, train: laptop sizes, to try it on a CPU.")
    ] = False,
    captures: Annotated[
        int, typer.Option(min=1000, help="manifest: captures; 10^8 take 10 GB of the temporary folder.")
    ] = 100_000_000,
    bandwidth: Annotated[float, typer.Option(help="train: GB/s of a rank, in one direction.")] = 25.0,
    latency: Annotated[float, typer.Option(help="train: µs of a collective, each doubling of ranks.")] = 10.0,
    step: Annotated[float, typer.Option(help="train: ms of a step of one rank alone.")] = 200.0,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="crossing: seeds of renderer and training; default: 0, 1, 2."),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="model: torch.compile, too.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print one line a measurement: value, reference, ratio and whether its target is met."""
    import torch

    from pipelines.placement.devices import own_device
    from reid.config import RayConfig
    from reid.config.typed import did_you_mean
    from reid.studies.benchmarks.build import build_rows
    from reid.studies.benchmarks.collectives import Network
    from reid.studies.benchmarks.evaluate import evaluate_rows
    from reid.studies.benchmarks.gpu.rows import gpu_rows
    from reid.studies.benchmarks.gpu.systems import PRESETS as gpu_systems  # noqa: N811
    from reid.studies.benchmarks.manifest import manifest_rows
    from reid.studies.benchmarks.model import SYSTEMS, model_rows
    from reid.studies.benchmarks.moe import moe_rows
    from reid.studies.benchmarks.sharing import PRESETS, sharing_rows
    from reid.studies.benchmarks.stream import stream_rows
    from reid.studies.benchmarks.training.rows import PARTS, train_rows
    from reid.studies.crossing.rows import CrossingSettings, crossing_rows

    if group not in GROUPS:
        raise UsageError(f"Unknown group {group!r}.{did_you_mean(group, GROUPS)}")
    known = list({"sharing": PRESETS, "gpu": gpu_systems, "train": gpu_systems}.get(group, SYSTEMS))
    for name in system or ():
        if name not in known:
            raise UsageError(f"--system: unknown {name!r}.{did_you_mean(name, known)}")
    for name in part or ():
        if group != "train" or name not in PARTS:
            wrong = (
                f"unknown {name!r}.{did_you_mean(name, list(PARTS))}"
                if group == "train"
                else "only train has parts."
            )
            raise UsageError(f"--part: {wrong}")
    asked = device or ("cuda" if group == "gpu" else "auto")
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device: {asked!r} is none of auto, cpu, cuda.")
    if device and group not in ON_DEVICE:
        raise UsageError(f"--device: {group} computes on none; it is for {', '.join(ON_DEVICE)}.")
    nowhere = group == "gpu" and device is None and not torch.cuda.is_available()
    try:
        place = own_device("benchmark", "cpu" if nowhere or group not in ON_DEVICE else asked)
    except UsageError as error:
        tried = " `--device cpu --small` tries the same checks without one." if group == "gpu" else ""
        raise UsageError(f"{error}{tried}") from None
    if group == "gpu":
        measured = gpu_rows(None if nowhere else place, system or known, rows or 64, repeats, small)
    elif group == "train":
        network = Network(bandwidth * 1e9, latency * 1e-6, step * 1e-3)
        measured = train_rows(
            part or list(PARTS), repeats, system or known, rows or 8, network, _trained, small
        )
    elif group == "moe":
        measured = moe_rows(repeats, place)
    elif group == "sharing":
        measured = sharing_rows(system or known, rows or 8, repeats, place)
    elif group == "evaluate":
        measured = evaluate_rows(repeats)
    elif group == "stream":
        measured = stream_rows(repeats)
    elif group == "build":
        from pipelines.dataset.stages import run_shards

        start_ray(RayConfig())
        measured = build_rows(repeats, run_shards)
    elif group == "crossing":
        measured = crossing_rows(CrossingSettings(seeds=tuple(seed or (0, 1, 2))))
    elif group == "serve":
        from pipelines.serve.benchmark import serve_rows

        measured = serve_rows(lambda config: start_ray(config.ray))
    elif group == "manifest":
        measured = manifest_rows(captures)
    else:
        measured = model_rows(system or SYSTEMS, rows or 8, repeats, place, compiled)
    found = []
    for row in measured:
        found.append(row.to_json())
        print(row.line(), file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        print(json.dumps(found, indent=1))
    if any(row["failed"] is not None for row in found):
        raise typer.Exit(1)


def _trained(config: Config) -> str:
    """Train a run, on Ray if its configuration says so, without a line; its uri."""
    from pipelines.training.train import train_run

    result = train_run(config, out=lambda line: None, ready=lambda: start_ray(config.ray))
    return result.run.uri


if __name__ == "__main__":
    run_verb(benchmark)
