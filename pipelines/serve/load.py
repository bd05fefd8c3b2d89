"""Clients that keep an endpoint busy, and the CPU time that processes take meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from reid.errors import ServiceError

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Load:
    """What some clients saw: milliseconds of each answer, and answers a second."""

    milliseconds: Sequence[float]
    per_second: float

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share (0..100) of the answers came."""
        return float(np.percentile(self.milliseconds, share))


def request_bytes(url: str, body: bytes, content_type: str) -> bytes:
    """A POST request on a connection that stays open."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Each client sends one request after another, for so many seconds.

    Raises ServiceError when an answer is not 200.
    """
    return asyncio.run(_load(url, requests, clients, seconds))


async def _load(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    parts = urlsplit(url)
    took: list[float] = []
    began = time.perf_counter()
    ends = began + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            while (sent := time.perf_counter()) < ends:
                writer.write(requests[number % len(requests)])
                status = await _answer(reader)
                if status != 200:
                    raise ServiceError(f"the endpoint answered {status} to {clients} clients.")
                took.append((time.perf_counter() - sent) * 1e3)
                number += clients
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return Load(took, len(took) / (time.perf_counter() - began))


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of one answer, whose body is read and dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
    else:  # in chunks
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    return int(head.split(b" ", 2)[1])


def cpu_seconds() -> dict[str, float]:
    """CPU seconds until now of all processes of Ray on this machine, by name; empty where there is no /proc.

    The controller, the scheduler and other processes of Ray are "ray". Another Ray beside it counts, too.
    """
    found: dict[str, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        name = _process(command)
        if name is not None:
            found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _process(command: str) -> str | None:
    if command.startswith("ray::ServeReplica"):
        return "replica"
    if command.startswith("ray::ProxyActor") or "haproxy" in command:
        return "proxy"
    return "ray" if command.startswith("ray::") or "/ray/" in command else None
