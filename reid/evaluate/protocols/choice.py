"""The protocol of an evaluation: the named one, or the one that the labels allow (`auto`).

`auto` is `cross_camera` if two cameras saw at least one identity, else `roles`. The latter excludes only the
query's own capture, what was generated from it, and identical files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reid.config import AUTO_PROTOCOL
from reid.config.protocols.catalogue import FIELD
from reid.config.typed import Section
from reid.errors import ConfigError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.protocol import Protocol, get_protocol

ACROSS, WITHIN = "cross_camera", "roles"
Identity = tuple[str, int]


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
    if any(len(cameras) > 1 for cameras in seen.values()):
        return ProtocolChoice(get_protocol(ACROSS))
    count = len({(dataset, camera) for (dataset, _), found in seen.items() for camera in found})
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


def cameras_of(labels: Sequence[SampleLabels]) -> dict[Identity, set[int]]:
    """The known cameras of each identity, by (dataset, pid).

    >>> cameras_of([SampleLabels(f"c{c}", "mine", pid=1, camid=c) for c in (0, 1, None)])[("mine", 1)]
    {0, 1}
    """
    seen: dict[Identity, set[int]] = defaultdict(set)
    for row in labels:
        seen[row.dataset, row.pid] |= set() if row.camid is None else {row.camid}
    return seen


def _named(value: str | Section, field: str) -> Protocol:
    try:
        return get_protocol(value)
    except ConfigError as error:
        raise ConfigError(f"{field}: {str(error).removeprefix(f'{FIELD}: ')}") from None
