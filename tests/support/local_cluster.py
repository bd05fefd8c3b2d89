"""A Ray cluster of several raylets on this machine, apart from any other Ray; verbs join it by RAY_ADDRESS.

It notices a killed node within two seconds. Its head has no CPU, so that only added nodes do work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.places import ROOT

_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_timeout_ms": "500",
}


class LocalCluster:
    """Nodes of the cluster come by `add` and go by `kill`."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": 0}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.environment = {
            **os.environ,
            "RAY_ADDRESS": str(self._cluster.address),
            "RAY_TMPDIR": folder,
            "OMP_NUM_THREADS": "1",
        }
        """For a process that is to join."""

    def add(self, cpus: int = 1) -> Any:
        """Start a node."""
        return self._cluster.add_node(num_cpus=cpus, dashboard_agent_listen_port=0)

    def kill(self, node: Any) -> None:
        """End a node and all that runs on it, without a word to the others."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    """While the block runs."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tempfile.mkdtemp(prefix="rc")  # sockets lie in it, whose paths must be short
        for name, value in {**_ENVIRONMENT, "RAY_TMPDIR": folder}.items():
            environment.setenv(name, value)
        environment.delenv("RAY_ADDRESS", raising=False)
        environment.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        cluster = LocalCluster(folder)
        try:
            yield cluster
        finally:
            cluster.close()
            shutil.rmtree(folder, ignore_errors=True)


class Joined:
    """A verb in a process of its own that works on the cluster; its lines are read as they come."""

    def __init__(self, cluster: LocalCluster, *command: str) -> None:
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=cluster.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def until(self, *words: str) -> str:
        """Read on to the next line that has one of the words; fails where the process ends before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.rstrip("\n"))
            if any(word in line for word in words):
                return line
        raise AssertionError(f"{words} not said:\n" + "\n".join(self.said))

    def kill(self) -> None:
        """As the machine of the driver would: at once."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> int:
        """Wait for the end; the exit code."""
        assert self._process.stdout is not None
        self.said += [line.rstrip("\n") for line in self._process.stdout]
        return self._process.wait(timeout=60)
