"""Look for faults before they cost hours: in a data set, or in this machine.

`data` reads a raw data set or a built shard set: a PATH, or what --config or --preset reads. `env` looks at
Python and packages, PyTorch, memory and disk, the storage of --workdir, pretrained weights, and Ray. `ray`
is only the check of Ray. Prints each fault with an example and its remedy; writes nothing. Exit code 1 when
there is an error.

Example:

  python -m jobs.doctor data /data/mine
  python -m jobs.doctor env
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    PresetOption,
    load_config,
    run_verb,
    show,
    start_ray,
)
from reid.doctor.finding import Check, ProgressBar
from reid.errors import UsageError

WHAT = ("data", "env", "ray")
RAY_SECONDS = 60
"""How long a tiny Ray may take to start and to run one task."""


def doctor(
    what: Annotated[
        str, typer.Argument(help="data: a data set. env: this machine. ray: only env's check of Ray.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="data: the folder or s3:// prefix (raw or built), then dotted overrides as for build, e.g. "
            "data.reader.manifest=list.csv.",
            metavar="[PATH] [KEY=VALUE]...",
        ),
    ] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    reader: Annotated[
        str | None, typer.Option(help="data: the layout's reader; default: recognise it.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="data: captures whose pictures are read.")] = 1000,
    all_files: Annotated[bool, typer.Option("--all-files", help="data: read every picture.")] = False,
    workdir: Annotated[str, typer.Option(help="env: where outputs will go; local or s3://.")] = "runs",
    no_ray: Annotated[bool, typer.Option("--no-ray", help="env: do not start Ray.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell every fault with an example and its remedy. Exit code 0: no error; 1: an error; 2: wrong usage.

    `data` takes a PATH, or --config or --preset to look at what a configuration reads. `env` looks at Python
    and packages, PyTorch, memory and disk, the storage of --workdir, pretrained weights, and Ray.
    """
    from reid.config.typed import did_you_mean

    if what not in WHAT:
        raise UsageError(f"Unknown {what!r}.{did_you_mean(what, WHAT)}")
    given = arguments or []
    if what == "data":
        fine = _data(given, config, preset, reader, sample, all_files, as_json)
    elif given or config or preset:
        raise UsageError(f"doctor {what} takes options only; see --help.")
    elif what == "env":
        fine = _env(workdir, no_ray, as_json)
    else:
        fine = _tell([try_ray()], as_json)
    if not fine:
        raise typer.Exit(1)


def _data(
    given: list[str],
    config: str | None,
    preset: str | None,
    reader: str | None,
    sample: int,
    all_files: bool,
    as_json: bool,
) -> bool:
    from reid.doctor.data.counts import table
    from reid.doctor.data.examination import Extent, examine, examine_config

    extent = Extent(sample, all_files)
    if config or preset:
        if reader:
            raise UsageError("--reader: the configuration names the reader; override data.reader instead.")
        settings = load_config(config, preset, given)
        source = ["--config", config] if config else ["--preset", str(preset)]
        command = shlex.join(["python", "-m", "jobs.build", *source, *given])
        report = examine_config(settings, command, extent, _watch())
    elif not given:
        raise UsageError("doctor data: give a folder or s3:// prefix, or --config or --preset.")
    else:
        report = examine(given[0], reader, given[1:], extent, _watch())
    levels = Counter(f.level for f in report.findings)
    lines = [f"{report.path}: {report.layout or 'no known layout'}"]
    if report.counts:
        lines += ["", *table(report.counts), ""]
        lines.append(
            f"protocol {report.protocol}; pictures of {report.looked_at} of {report.captures} captures read"
            + ("" if report.looked_at == report.captures else " (--all-files reads all)")
        )
    for finding in report.findings:
        lines += ["", *finding.lines()]
    lines += ["", f"errors: {levels['error']}, warnings: {levels['warning']}"]
    if report.next:
        lines += ["", "next:", f"  {report.next}"]
    show(report.to_json(), as_json, lines)
    return report.ok


def _env(workdir: str, no_ray: bool, as_json: bool) -> bool:
    from reid.doctor.machine.environment import checks

    found = []
    for check in checks(workdir):
        found.append(check)
        if not as_json:
            print("\n".join(check.lines()), flush=True)
    if not no_ray:
        found.append(bounded_ray())
        if not as_json:
            print("\n".join(found[-1].lines()), flush=True)
    return _tell(found, as_json, shown=True)


def _tell(found: list[Check], as_json: bool, shown: bool = False) -> bool:
    ok = all(check.status != "fail" for check in found)
    lines = [] if shown else [line for check in found for line in check.lines()]
    if as_json:
        print(json.dumps({"ok": ok, "checks": [check.to_json() for check in found]}, indent=1))
    elif lines:
        print("\n".join(lines))
    return ok


def _watch() -> ProgressBar:
    from pipelines.progress import Progress

    return lambda what, total: Progress(f"doctor: {what}", total, unit="done").add


def try_ray() -> Check:
    """Start a small Ray, or join the one of RAY_ADDRESS, and run one task. May hang: see `bounded_ray`."""
    import ray

    from reid.config import RayConfig

    started = time.monotonic()
    start_ray(RayConfig(num_cpus=1, object_store_mib=80))
    up = time.monotonic() - started
    try:
        answer = ray.get(ray.remote(_double).remote(21))
        took = time.monotonic() - started
        where = os.environ.get("RAY_ADDRESS")
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    finally:
        ray.shutdown()
    began = f"joined {where}" if where else "a local Ray started"
    told = f"{began} in {up:.1f} s, a task ran after {took:.1f} s"
    if answer != 42:
        return Check("ray", "fail", f"a task gave {answer!r}, not 42", "look into Ray's session logs")
    return Check("ray", "ok", f"Ray {ray.__version__}: {told}; nodes {nodes}, CPUs {cpus:g}, GPUs {gpus:g}")


def _double(number: int) -> int:
    return 2 * number


def bounded_ray(seconds: float = RAY_SECONDS) -> Check:
    """`try_ray` in a process of its own that is ended, with all of its Ray, when the time is over."""
    command = [sys.executable, "-m", "jobs.doctor", "ray", "--json"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            where = os.environ.get("RAY_ADDRESS")
            return Check(
                "ray",
                "fail",
                f"no answer within {seconds:g} s" + (f" from RAY_ADDRESS={where}" if where else ""),
                "is the address right and the cluster up?"
                if where
                else "look at memory and CPU load; python -m jobs.doctor ray --debug shows more",
            )
    try:
        return Check(**json.loads(out)["checks"][0])
    except (ValueError, LookupError, TypeError):
        told = err.strip().splitlines()
        return Check(
            "ray",
            "fail",
            told[-1].removeprefix("error: ") if told else f"ended with code {process.returncode}",
            "python -m jobs.doctor ray --debug shows more",
        )


if __name__ == "__main__":
    run_verb(doctor)
