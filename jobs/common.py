"""What every verb shares: options, config loading, starting Ray, and errors as one clear message.

Nothing heavy is imported here or at the top of a verb: `--help` must answer at once.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

import reid.errors
from jobs.dry_run import with_value
from jobs.interrupts import INTERRUPTED, TERMINATED, end_on_signals
from reid.errors import AnyReIDError, UsageError

if TYPE_CHECKING:
    from reid.config import Config, RayConfig

ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="YAML file with the configuration.")
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Shipped preset, e.g. baseline/synthetic.")
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Fields of the configuration to change, e.g. train.epochs=2.", metavar="KEY=VALUE"),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the entry point of a submitted job."""


def run_verb(verb: Callable[..., None], program: str | None = None) -> None:
    """Run a Typer command with the arguments of this process; `program` is its name in the usage line.

    Exit codes: 0 when fine, 1 for a failure, 2 for wrong usage, 130 and 143 after Ctrl-C and SIGTERM. No
    traceback without --debug. The help text is the docstring of the verb's module.
    """
    os.environ.setdefault("LANCE_LOG", "error")  # it tells of a new table as of a fault
    terminal = logging.StreamHandler()
    terminal.setFormatter(_LogLine())
    logging.basicConfig(level=logging.WARNING, handlers=[terminal])
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=_help(sys.modules[verb.__module__].__doc__ or ""))(verb)
    debug = "--debug" in sys.argv
    end_on_signals()
    try:
        app(with_value(sys.argv[1:]), prog_name=program)
    except AnyReIDError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code in (INTERRUPTED, TERMINATED):
            print("stopped; run the same command again to go on", file=sys.stderr)
        raise
    except Exception as error:
        if debug:
            raise
        if (refused := _refused(error)) is not None:
            print(f"error: {refused}", file=sys.stderr)
            sys.exit(1)
        print(f"error: {first_cause(error)} (traceback: {_kept(verb.__name__, error)})", file=sys.stderr)
        sys.exit(1)


class _LogLine(logging.Formatter):
    """ "warning: …" of what we say; a library's name before what it says."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] in ("reid", "pipelines", "jobs")
        return f"{record.levelname.lower()}: {'' if ours else f'{record.name}: '}{super().format(record)}"


_outputs = "runs"
"""The folder of outputs, beside which tracebacks are kept: that of the last configuration that was loaded."""


def _refused(error: Exception) -> str | None:
    """A full disk that a library met, with its remedy."""
    from reid import storage

    if not isinstance(error, OSError):
        return None
    told = storage.refusal(str(error.filename or _outputs), error)
    return None if told is None else str(told)


def _kept(verb: str, error: Exception) -> str:
    from pipelines.tracebacks import write_traceback

    return write_traceback(_outputs, verb, error)


def _help(text: str) -> str:
    """A docstring whose indented paragraphs (commands) keep their lines, which `\\b` asks for."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"\b\n{part}" if part.startswith("  ") else part for part in paragraphs)


def first_cause(error: Exception) -> str:
    """What to act on. A worker's error comes as the text of its traceback: the first message of ours in it
    (it may explain an earlier one of the system's), else the first of all, which is the cause.
    """
    text = str(error).strip()
    told = re.findall(r"^(?:\w+\.)*(\w+): (.+)$", text, re.MULTILINE) if _from_worker(error) else []
    if not told:
        return f"{type(error).__name__}: {text.partition(chr(10))[0]}"
    ours = next((message for name, message in told if hasattr(reid.errors, name)), None)
    return ours or f"{told[0][0]}: {told[0][1]}"


def _from_worker(error: Exception) -> bool:
    return type(error).__module__.startswith("ray.")


def load_config(config: str | None, preset: str | None, overrides: list[str] | None) -> Config:
    """The configuration that the common options name."""
    from reid import storage
    from reid.config import load

    if (config is None) == (preset is None):
        raise UsageError(
            "Give exactly one of --config FILE.yaml and --preset NAME (e.g. baseline/synthetic)."
        )
    settings = load(config or str(preset), overrides or [])
    global _outputs
    _outputs = settings.workdir
    if (
        IN_A_JOB in os.environ
        and not storage.is_remote(settings.workdir)
        and settings.workdir[:1] not in "/~"
    ):
        raise UsageError(
            f"workdir={settings.workdir!r} is relative to the job's temporary package folder, where "
            "outputs get lost; give an absolute path that all nodes share, or s3://…."
        )
    return settings


def start_ray(config: RayConfig, dashboard: bool = False) -> None:
    """Connect to RAY_ADDRESS or start a local Ray, and set Ray Data up. RAY_AUTH_MODE is honoured.

    `dashboard` is needed by nested Tune and by the Jobs API. Workers' logs stay in Ray's session folder
    unless --debug; what a person should see, the pipelines print.
    """
    import ray

    from pipelines.context import configure_data_context
    from pipelines.ray_messages import tell_plainly

    debug = "--debug" in sys.argv
    if not debug:
        _quiet()
        tell_plainly()
    if not ray.is_initialized():
        if os.environ.get("RAY_ADDRESS"):
            ray.init(
                logging_level=logging.ERROR,
                log_to_driver=debug,
                runtime_env={"env_vars": worker_environment()},
            )
        else:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a private, local, short-lived Ray
            ray.init(
                address="local",  # never somebody's `ray start` on this machine that we were not told of
                num_cpus=config.num_cpus or (os.cpu_count() or 1) + 1,  # one more for drivers that only wait
                include_dashboard=dashboard,
                object_store_memory=config.object_store_mib * 2**20,
                logging_level=logging.ERROR,
                log_to_driver=debug,
                runtime_env={"env_vars": worker_environment()},
            )
    end_on_signals()  # Ray has put a handler of its own in place
    configure_data_context(config.profile)


def _quiet() -> None:
    """Keep the libraries' own chatter off the terminal; warnings and errors of ours still show."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    warnings.filterwarnings("ignore", module=r"ray\.", category=DeprecationWarning)
    for name in ("ray.serve", "ray.tune", "ray.train", "optuna"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a failed task is told by us


def worker_environment() -> dict[str, str]:
    """Quieter, deterministic workers that see no GPU but those that Ray granted them.

    What the job that this process was submitted as sets for its workers is left to it.
    """
    own = {
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    }
    job = json.loads(os.environ.get(IN_A_JOB) or "{}")
    given = (job.get("runtime_env") or {}).get("env_vars") or {}
    return {name: value for name, value in own.items() if name not in given}  # Ray refuses one set twice


def stop_serving() -> None:
    """Take the endpoint down once it has answered what is in flight; a Ray of our own goes with it."""
    import ray

    from pipelines.serve.app import stop

    stop()
    if not os.environ.get("RAY_ADDRESS"):
        ray.shutdown()


def run_uri_of(config: Config) -> str:
    """The run folder that `run=` names, or the one that this configuration trains."""
    if config.run:
        return config.run
    from pipelines.training.train import resolve_run

    return resolve_run(config)[1]


def missing_run(config: Config) -> list[str]:
    """For a dry run: a line when the run that the verb reads is not trained yet. Needs the built set."""
    from reid import storage
    from reid.config.addresses import shards_uri
    from reid.data.shards.places import is_set
    from reid.storage.run_files import RUN_FILE

    if config.run or not is_set(shards_uri(config)):
        return []
    uri = run_uri_of(config)
    if storage.exists(storage.join(uri, RUN_FILE)):
        return []
    return [f"not trained yet: {uri}; run python -m jobs.train with this configuration first"]


def show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Print a result for a program or for a person."""
    if as_json:
        print(json.dumps(result, indent=1, sort_keys=True))
    else:
        print("\n".join(lines))
