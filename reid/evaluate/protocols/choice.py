"""The protocol of an evaluation: the named one, or the one that the labels allow (`auto`).

`auto` is `cross_camera` if two cameras saw at least one identity, else `roles`. The latter excludes only the
query's own capture, what was generated from it, and identical files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid.config import AUTO_PROTOCOL
from reid.config.protocols.catalogue import FIELD
from reid.config.typed import Section
from reid.errors import ConfigError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import UNKNOWN
from reid.evaluate.protocols.protocol import Protocol, get_protocol

ACROSS, WITHIN = "cross_camera", "roles"


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol, and one line for the user that explains the choice of `auto`; None where none is needed."""

    protocol: Protocol
    note: str | None = None


def choose_protocol(
    value: str | Section, labels: Sequence[SampleLabels], field: str = FIELD
) -> ProtocolChoice:
    """The protocol that a field names; for `auto`, the one that the labels allow.

    Args:
        value: a registered name, "auto", or the section that the field holds.
        labels: labels of the evaluated samples.
        field: dotted name of the field, for messages.

    Raises ConfigError for an unknown name; the message lists the known ones and the nearest.

    >>> labels = [SampleLabels(f"c{c}", "mine", pid=1, camid=c) for c in (0, 1)]
    >>> choose_protocol("auto", labels).protocol.name, choose_protocol("auto", labels[:1]).protocol.name
    ('cross_camera', 'roles')
    """
    if value != AUTO_PROTOCOL:
        return ProtocolChoice(_named(value, field))
    seen = cameras_of(labels)
    if seen.shared:
        return ProtocolChoice(get_protocol(ACROSS))
    count = seen.cameras
    reason = ("no camera is known", "one camera", "no identity was seen by two cameras")[min(count, 2)]
    note = (
        f"{reason}: {field}=auto is the protocol {WITHIN}; right answers may be of the query's camera; not "
        "counted are only its own capture, what was made from it, and identical files."
    )
    return ProtocolChoice(get_protocol(WITHIN), note)


def sides_of(value: str | Section) -> Protocol:
    """A protocol with the same queries and gallery as the chosen one; does not read labels.

    Both choices of `auto` select the same queries and items.

    >>> sides_of("auto").name
    'cross_camera'
    """
    return get_protocol(ACROSS if value == AUTO_PROTOCOL else value)


def check_name(value: str | Section, field: str = FIELD) -> None:
    """Check the name of a protocol before labels are read.

    Raises ConfigError for an unknown name.

    >>> check_name("auto")
    """
    if value != AUTO_PROTOCOL:
        _named(value, field)


@dataclass(frozen=True)
class CamerasSeen:
    """How many identities and known cameras labels have, and whether any identity was seen by two."""

    identities: int
    cameras: int
    shared: bool


def cameras_of(labels: Sequence[SampleLabels]) -> CamerasSeen:
    """What the cameras of labels tell; both are counted by data set.

    >>> cameras_of([SampleLabels(f"c{c}", "mine", pid=1, camid=c) for c in (0, 1, None)])
    CamerasSeen(identities=1, cameras=2, shared=True)
    """
    table = label_table_of(labels)
    identity, camera = table.identity, table.camera
    order = np.argsort(identity, kind="stable")
    ordered = identity[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(table) else order
    known = camera != UNKNOWN
    shared = False
    if len(table) and known.any():
        most = np.maximum.reduceat(camera[order], first)
        least = np.minimum.reduceat(np.where(known, camera, np.iinfo(camera.dtype).max)[order], first)
        shared = bool((most > least).any())
    return CamerasSeen(len(first), len(np.unique(camera[known])), shared)


def _named(value: str | Section, field: str) -> Protocol:
    try:
        return get_protocol(value)
    except ConfigError as error:
        raise ConfigError(f"{field}: {str(error).removeprefix(f'{FIELD}: ')}") from None
