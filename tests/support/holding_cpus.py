"""Another program on the same Ray, which holds CPUs until it is told to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray

_PROGRAM = """
import logging, sys, ray
ray.init(address=sys.argv[1], logging_level=logging.ERROR, log_to_driver=False)

@ray.remote
class Holder:
    def here(self):
        return True

holder = Holder.options(num_cpus=float(sys.argv[2])).remote()
try:
    ray.get(holder.here.remote(), timeout=60)
except ray.exceptions.GetTimeoutError:
    free = ray.available_resources().get("CPU", 0)
    sys.exit(f"no {sys.argv[2]} CPUs within a minute, but {free:g}: what ran before keeps some")
print("held", flush=True)
sys.stdin.readline()
"""


class Holding:
    """The program; `release` ends it."""

    def __init__(self, cpus: float) -> None:
        self._cpus = cpus
        address = ray.get_runtime_context().gcs_address
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, address, str(cpus)],
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        if self._process.stdout.readline() != "held\n":  # it ends by itself when it gets nothing
            raise AssertionError(self._process.stderr.read()[-2000:])

    def release(self) -> None:
        """Let go; once or more often."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()

    def wait(self) -> None:
        """Until the program has ended and what it held is free."""
        self._process.wait(timeout=60)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        deadline = time.monotonic() + 30
        while (free := ray.available_resources().get("CPU", 0)) < self._cpus:
            assert time.monotonic() < deadline, f"{free:g} CPUs are free half a minute after the end"
            time.sleep(0.1)


@contextmanager
def held(cpus: float) -> Iterator[Holding]:
    """While the block runs, unless it is released before."""
    holding = Holding(cpus)
    try:
        yield holding
    finally:
        holding.release()
        holding.wait()
