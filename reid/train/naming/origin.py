"""What a run began from, written into its folder before its first step and into run.json at its end.

```
<run>/config.json      the resolved configuration
<run>/origin.json      data, labels and code; the run that it goes on from
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from reid import storage
from reid.config import Config
from reid.errors import StorageError
from reid.train.checkpoints.record import Subject
from reid.train.naming.numbers import code_fingerprint, source_of

ORIGIN_FILE = "origin.json"


@dataclass(frozen=True)
class Parent:
    """The run that another one goes on from: where it was then, and the fields that differ."""

    run: str
    epoch: int
    step: int
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """What a run began from.

    Args:
        subject: run, system and label map, as its checkpoints record them.
        data: fingerprint of the shard set.
        code: the part of the run's name that stands for the code.
        sources: hashes of every state of the source that it was trained with, in order.
        parent: the run that it goes on from.
    """

    subject: Subject
    data: str
    code: str
    sources: tuple[str, ...]
    parent: Parent | None = None

    @classmethod
    def read(cls, run: str) -> Origin | None:
        """Of the run at this uri; None for one that began without. Raises StorageError for a broken file."""
        uri = storage.join(run, ORIGIN_FILE)
        if not storage.exists(uri):
            return None
        tree = storage.read_json(uri)
        try:
            parent = tree["parent"]
            return cls(
                Subject(**tree["subject"]),
                tree["data"],
                tree["code"],
                tuple(tree["sources"]),
                parent and Parent(**{**parent, "differences": tuple(parent["differences"])}),
            )
        except (KeyError, TypeError) as error:
            raise StorageError(
                f"{uri}: not the origin of a run ({error!r}); remove it to begin anew."
            ) from None

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return asdict(self)


def begin_run(run: str, config: Config, subject: Subject, data: str, parent: Parent | None = None) -> Origin:
    """Record what the run at this uri begins or goes on with; return all that is known of its origin."""
    source, known = source_of(config), Origin.read(run)
    if known is None:
        known = Origin(subject, data, code_fingerprint(config), (source,), parent)
    elif source not in known.sources:
        known = replace(known, sources=(*known.sources, source))
    if parent is not None:
        known = replace(known, parent=parent)
    storage.write_json(storage.join(run, "config.json"), config.model_dump(mode="json"))
    storage.write_json(storage.join(run, ORIGIN_FILE), known.to_json())
    return known
