"""A real endpoint in a process of its own, as `python -m jobs.serve` starts it, and clients for it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from reid.retrieve.retriever import Retriever
from tests.support.places import ROOT

_START_S = 180.0


@dataclass(frozen=True)
class Endpoint:
    """Where it answers, its process, and the file that has all it printed."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def serve_arguments(retriever: Retriever, folder: Path) -> list[str]:
    """What `python -m jobs.serve` is given for this run and gallery, on any free port."""
    config = folder / "served.yaml"
    tree = retriever.run.config.model_dump(mode="json", exclude_unset=True)
    config.write_text(yaml.safe_dump({**tree, "run": retriever.run.uri, "workdir": str(folder / "work")}))
    small = ("serve.port=0", "ray.num_cpus=3", "ray.object_store_mib=100")
    return ["--config", str(config), f"index.gallery={retriever.gallery.uri}", *small]


def environment() -> dict[str, str]:
    """That of a process that starts a Ray of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return env | {"RAY_USAGE_STATS_ENABLED": "0"}


@contextlib.contextmanager
def served(retriever: Retriever, folder: Path, *overrides: str) -> Iterator[Endpoint]:
    """`python -m jobs.serve` on this run and gallery, ready to answer; it is stopped in the end."""
    command = [sys.executable, "-m", "jobs.serve", *serve_arguments(retriever, folder)]
    log = folder / "served.log"
    with log.open("wb") as out:
        # A process group of its own, so that a signal can go to all of it as Ctrl-C in a terminal does.
        process = subprocess.Popen(
            [*command, *overrides],
            cwd=ROOT,
            env=environment(),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield Endpoint(_url(process, log), process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    ended = time.monotonic() + _START_S
    while time.monotonic() < ended and process.poll() is None:
        if found := re.search(r"^serving on (\S+)", log.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"the endpoint did not start:\n{log.read_text()}")


@dataclass(frozen=True)
class Upload:
    """A search request with a picture, to be sent whole or in parts."""

    url: str
    headers: dict[str, str]
    body: bytes

    @staticmethod
    def of(url: str, picture: bytes, **headers: str) -> Upload:
        made = httpx.Request("POST", f"{url}/v1/search", files={"rgb": ("rgb.jpg", picture, "image/jpeg")})
        kept = {"content-type": made.headers["content-type"]}
        return Upload(str(made.url), {**kept, **headers}, made.read())

    def send(self, pause_s: float = 0.0, started: threading.Semaphore | None = None) -> httpx.Response:
        """The answer. A pause comes before the second half of the body; `started` is released there."""

        def halves() -> Iterator[bytes]:
            middle = len(self.body) // 2
            yield self.body[:middle]
            if started is not None:
                started.release()
            time.sleep(pause_s)
            yield self.body[middle:]

        headers = {**self.headers, "content-length": str(len(self.body))}
        with httpx.Client(trust_env=False, timeout=120, verify=False) as client:
            return client.post(self.url, content=halves(), headers=headers)
