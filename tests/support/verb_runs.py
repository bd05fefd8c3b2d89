"""Runs of verbs in processes of their own, which a test may disturb in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.places import ROOT

ENDS_WITHIN_S = 300


@dataclass(frozen=True)
class Ended:
    """How a verb ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line with its error. Fails when there are none or several, or other lines of an error."""
        assert "Traceback" not in self.err, self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


def run_verb_apart(
    verb: str,
    config: str,
    *overrides: str,
    until: str | None = None,
    then: Callable[[subprocess.Popen[str]], None] = lambda _: None,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run `python -m jobs.<verb>` to its end.

    Args:
        verb: its name.
        config: a YAML file.
        overrides: fields of the configuration.
        until: words of a line of stderr; after the first such line `then` is called.
        then: is given the process, e.g. to send it a signal.
        environment: variables besides those of this process.
    """
    variables = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    variables |= {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", **(environment or {})}
    with subprocess.Popen(
        [sys.executable, "-m", f"jobs.{verb}", "--config", config, *overrides],
        cwd=ROOT,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if until is not None and until in line:
                until = None
                then(process)
        out, code = process.stdout.read(), process.wait(ENDS_WITHIN_S)
    told = "".join(lines)
    print(f"--- {verb} {' '.join(overrides)}: {code}\n{told}")  # pytest -rP shows it
    assert until is None, f"{until!r} was never said:\n{told}"
    return Ended(code, out, told)
