"""Ctrl-C and SIGTERM end a verb with 130 and 143 and the same sentence; what is open gets closed first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.places import ROOT

SENTENCE = "stopped; run the same command again to go on"
VERB = '''
import sys, time
from jobs.common import run_verb, start_ray

def verb() -> None:
    """Wait for ever, on Ray or without."""
    wait = lambda: time.sleep(300)
    if {on_ray}:
        import ray
        from reid.config import RayConfig
        start_ray(RayConfig(num_cpus=1, object_store_mib=80))
        wait = lambda: ray.get(ray.remote(lambda: time.sleep(300)).remote())
    try:
        print("ready", flush=True)
        wait()
    finally:
        print("closed", flush=True)

run_verb(verb)
'''


def stopped(program: list[str], number: signal.Signals, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code and what was printed after "ready", when the signal came."""
    with subprocess.Popen(
        program,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    "on_ray", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "on Ray"]
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_verb_that_is_stopped(number: signal.Signals, code: int, on_ray: bool) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    program = [sys.executable, "-c", VERB.format(on_ray=on_ray)]
    ended, out, err = stopped(program, number, environment)
    assert ended == code, err
    assert out == "closed\n"
    assert err.splitlines()[-1] == SENTENCE
    assert "Traceback" not in err
