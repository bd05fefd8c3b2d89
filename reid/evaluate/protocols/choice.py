"""Which protocol is at work: the one that was named, or the one that the labels can bear (`auto`).

`auto` is `cross_camera` where at least one identity was seen by two cameras, else `roles`: then only the
query's own capture, what was made from it, and identical files do not count.
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
    """A protocol, and in one line why `auto` chose it where that is worth a word."""

    protocol: Protocol
    note: str | None = None


def choose_protocol(
    value: str | Section, labels: Sequence[SampleLabels], field: str = FIELD
) -> ProtocolChoice:
    """The protocol that `field` names; for `auto`, what these rows' cameras allow.

    Raises ConfigError for an unknown name, with the nearest and all known.
    """
    if value != AUTO_PROTOCOL:
        return ProtocolChoice(_named(value, field))
    seen = cameras_of(labels)
    if any(len(cameras) > 1 for cameras in seen.values()):
        return ProtocolChoice(get_protocol(ACROSS))
    count = len({(dataset, camera) for (dataset, _), found in seen.items() for camera in found})
    told = ("no camera is known", "one camera")[count] if count < 2 else "no identity was seen by two cameras"
    note = (
        f"{told}: {field}=auto is the protocol {WITHIN}; right answers may be of the query's camera; not "
        "counted are only its own capture, what was made from it, and identical files."
    )
    return ProtocolChoice(get_protocol(WITHIN), note)


def sides_of(value: str | Section) -> Protocol:
    """For what only a protocol's sides decide (who asks, what is found): those of `auto` never differ."""
    return get_protocol(ACROSS if value == AUTO_PROTOCOL else value)


def check_name(value: str | Section, field: str = FIELD) -> None:
    """Raise ConfigError for an unknown name, before any labels are read."""
    if value != AUTO_PROTOCOL:
        _named(value, field)


def cameras_of(labels: Sequence[SampleLabels]) -> dict[Identity, set[int]]:
    """The known cameras of each identity."""
    seen: dict[Identity, set[int]] = defaultdict(set)
    for row in labels:
        seen[row.dataset, row.pid] |= set() if row.camid is None else {row.camid}
    return seen


def _named(value: str | Section, field: str) -> Protocol:
    try:
        return get_protocol(value)
    except ConfigError as error:
        raise ConfigError(f"{field}: {str(error).removeprefix(f'{FIELD}: ')}") from None
