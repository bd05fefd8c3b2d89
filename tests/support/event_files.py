"""Reads TensorBoard's event files as TensorBoard does: in the order of names, purged where a run resumed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def events(folder: Path) -> Iterator[Event]:
    """Every event below a folder."""
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        at = 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)  # a checksum, the event, another
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            found = {tag: [p for p in points if p[0] < event.step] for tag, points in found.items()}
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found
