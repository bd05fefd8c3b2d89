"""Look for faults before they cost hours: in a data set, or in this machine.

`data` reads a raw data set or a built shard set: a PATH, or what --config or --preset reads; without a word
before it, --config and --preset mean `data`. With --write it writes a configuration for every verb and prints
the commands that use it. `env` looks at Python and packages, PyTorch, memory and disk, the storage of
--workdir, pretrained weights, and Ray. `ray` is only the check of Ray. Prints each fault with an example, the
files concerned and the remedy. Exit code 1 when there is an error.

Example:

  python -m jobs.doctor data /data/mine --write mine.yaml
  python -m jobs.doctor --config mine.yaml
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from reid.doctor.configuration.proposal import Proposal
    from reid.doctor.data.examination import Report

WHAT = ("data", "env", "ray")
RAY_SECONDS = 60
"""How long a tiny Ray may take to start and to run one task."""


def doctor(
    what: Annotated[
        str | None, typer.Argument(help="data: a data set. env: this machine. ray: only env's check of Ray.")
    ] = None,
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
    files: Annotated[
        int | None,
        typer.Option(min=1, help="data: concerned files listed for each finding; default: 5, in JSON 100."),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="data: write a configuration for every verb to this YAML file."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="data: --write may replace a file.")] = False,
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

    if what is None or (what not in WHAT and "=" in what and (config or preset)):
        if not (config or preset):
            raise UsageError(f"Give one of {', '.join(WHAT)}, or --config or --preset; see --help.")
        what, arguments = "data", [*([what] if what else []), *(arguments or [])]
    if what not in WHAT:
        raise UsageError(f"Unknown {what!r}.{did_you_mean(what, WHAT)}")
    given = arguments or []
    if what == "data":
        asked = DataRequest(given, config, preset, reader, sample, all_files, files, write, force)
        fine = _data(asked, as_json)
    elif given or config or preset or write:
        raise UsageError(f"doctor {what} takes options only; see --help.")
    elif what == "env":
        fine = _env(workdir, no_ray, as_json)
    else:
        fine = _tell([try_ray()], as_json)
    if not fine:
        raise typer.Exit(1)


@dataclass(frozen=True)
class DataRequest:
    """What `doctor data` was asked."""

    given: list[str]
    config: str | None
    preset: str | None
    reader: str | None
    sample: int
    all_files: bool
    files: int | None
    write: str | None
    force: bool


def _data(asked: DataRequest, as_json: bool) -> bool:
    from reid.doctor.configuration.proposal import check_target
    from reid.doctor.finding import FILES_IN_JSON, FILES_SHOWN
    from reid.doctor.library_messages import library_messages, messages_finding

    if asked.write:
        check_target(asked.write, asked.force)
    with library_messages() as said:
        found = _examined(asked)
    report = found.report.with_findings(messages_finding(said))
    lines = _report_lines(report, asked.files or FILES_SHOWN)
    tree = report.to_json(asked.files or FILES_IN_JSON)
    if found.text is not None and asked.write:
        Path(asked.write).parent.mkdir(parents=True, exist_ok=True)
        Path(asked.write).write_text(found.text, encoding="utf-8")
        lines += ["", *found.notes, f"{asked.write} is written; it says why each choice was made. Next:"]
        lines += [f"  {step}" for step in found.commands]
        tree |= {"written": asked.write, "commands": list(found.commands), "notes": list(found.notes)}
    elif report.next:
        lines += ["", "next:", f"  {report.next}"]
        if asked.given and not asked.config and not asked.preset:
            again = ["python", "-m", "jobs.doctor", "data", *asked.given, "--write", "mine.yaml"]
            lines.insert(-1, f"  {shlex.join(again)}   (a configuration for every verb), or at once")
    show(tree, as_json, lines)
    return report.ok


def _examined(asked: DataRequest) -> Proposal:
    from reid.doctor.configuration.proposal import Proposal, propose
    from reid.doctor.data.examination import Extent, examine, examine_config

    extent, given = Extent(asked.sample, asked.all_files), asked.given
    if asked.config or asked.preset:
        if asked.reader:
            raise UsageError("--reader: the configuration names the reader; override data.reader instead.")
        if asked.write:
            raise UsageError("--write: give a PATH to write a configuration for, not a configuration.")
        settings = load_config(asked.config, asked.preset, given)
        source = ["--config", asked.config] if asked.config else ["--preset", str(asked.preset)]
        command = shlex.join(["python", "-m", "jobs.build", *source, *given])
        return Proposal(examine_config(settings, command, extent, _watch()))
    if not given:
        raise UsageError("doctor data: give a folder or s3:// prefix, or --config or --preset.")
    if asked.write:
        return propose(given[0], asked.write, asked.reader, given[1:], extent, _watch())
    return Proposal(examine(given[0], asked.reader, given[1:], extent, _watch()))


def _report_lines(report: Report, files: int) -> list[str]:
    from reid.doctor.data.counts import table

    levels = Counter(f.level for f in report.findings)
    lines = [f"{report.path}: {report.layout or 'no known layout'}"]
    if report.counts:
        lines += ["", *table(report.counts), ""]
        lines.append(
            f"protocol {report.protocol}; pictures of {report.looked_at} of {report.captures} captures read"
            + ("" if report.looked_at == report.captures else " (--all-files reads all)")
        )
    for finding in report.findings:
        lines += ["", *finding.lines(files)]
    return [*lines, "", f"errors: {levels['error']}, warnings: {levels['warning']}"]


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
