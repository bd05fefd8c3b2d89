"""Run Swift's four servers until standard input ends: also when whoever started this is killed.

Usage, with the Python of Swift's environment: serve.py FOLDER CLOCK NAME=PORT ...
FOLDER holds the settings of each server that is named; CLOCK is how many seconds their clock is ahead.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from swift.common.ring import RingBuilder

AHEAD = """
import runpy, sys
import eventlet.wsgi
from swift.common.middleware.s3api.utils import S3Timestamp

ahead = float(sys.argv.pop(1))
now, date = S3Timestamp.now, eventlet.wsgi.format_date_time
S3Timestamp.now = classmethod(lambda cls: cls(float(now()) + ahead))
eventlet.wsgi.format_date_time = lambda seconds: date(seconds + ahead)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs the proxy with a clock that is so many seconds ahead, for its clients: in the times that it compares
with those of requests, and in its answers. What it stores has the right time: a store with two clocks would
lose files.
"""


def make_ring(folder: Path, name: str, port: int) -> None:
    """Say where a kind of data lies: all of it on the one device that there is."""
    ring = folder / f"{name}.ring.gz"
    if ring.exists():
        return
    builder = RingBuilder(4, 1, 1)  # 16 partitions, one copy, an hour between moves
    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": "", **place})
    builder.rebalance(seed=0)
    builder.get_ring().save(str(ring))


def main() -> None:
    folder = Path(sys.argv[1])
    ahead = float(sys.argv[2])
    clock = ["-c", AHEAD, str(ahead)] if ahead else []
    ports = {name: int(port) for name, port in (text.split("=") for text in sys.argv[3:])}
    for name, port in ports.items():
        if name != "proxy":
            make_ring(folder, name, port)
    with contextlib.ExitStack() as logs:
        servers = []
        for name in ports:
            log = logs.enter_context(open(folder / f"{name}.log", "ab"))
            program = Path(sys.executable).with_name(f"swift-{name}-server")
            settings = str(folder / f"{name}.conf")
            before = clock if name == "proxy" else []
            command = [sys.executable, "-I", *before, str(program), settings, "--verbose"]
            servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        sys.stdin.read()
        for server in servers:
            server.kill()  # a restart of the machine: Swift keeps what it has confirmed
        for server in servers:
            server.wait()


if __name__ == "__main__":
    main()
