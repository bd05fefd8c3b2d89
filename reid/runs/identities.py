"""Which identities are trained on and which validate, and their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from reid.data.shards.shard_set import Identity, ShardSet
from reid.errors import ConfigError

LEAST = 2
"""Identities on each side of a split: among the pictures of a single one everything found is right."""


@dataclass(frozen=True)
class LabelMap:
    """Sorted identities and cameras; a label is a position. Equal on every machine."""

    classes: tuple[Identity, ...]
    cameras: tuple[int, ...]

    @property
    def labels(self) -> dict[Identity, int]:
        """Identity -> contiguous label."""
        return {identity: i for i, identity in enumerate(self.classes)}

    @property
    def camera_labels(self) -> dict[int, int]:
        """camid -> contiguous label."""
        return {camid: i for i, camid in enumerate(self.cameras)}

    def to_json(self) -> dict[str, list[object]]:
        """For the run folder."""
        return {"classes": [list(c) for c in self.classes], "cameras": list(self.cameras)}

    @classmethod
    def from_json(cls, tree: dict[str, list[list[str | int]]]) -> LabelMap:
        """Inverse of `to_json`."""
        classes = tuple((str(d), int(p)) for d, p in tree["classes"])
        return cls(classes, tuple(int(c) for c in tree["cameras"]))  # type: ignore[call-overload]


def split_identities(
    identities: Iterable[Identity], fraction: float, seed: int
) -> tuple[list[Identity], list[Identity]]:
    """(training, validation) identities: the seeded-hash-smallest `fraction` validate. Both sorted.

    A fraction above 0 holds out LEAST at least. Raises ConfigError when fewer than LEAST are left to train.
    """

    def draw(identity: Identity) -> str:
        return hashlib.sha256(f"{seed}|{identity[0]}|{identity[1]}".encode()).hexdigest()

    ranked = sorted(identities, key=draw)
    count = max(round(len(ranked) * fraction), LEAST) if fraction else 0
    if count and len(ranked) - count < LEAST:
        raise ConfigError(
            f"train.val.fraction: {len(ranked)} training identities are too few to hold out {count} and "
            f"train on {LEAST} or more. Lower it, add identities, or set it to 0 to train without validation."
        )
    return sorted(ranked[count:]), sorted(ranked[:count])


def training_labels(shards: ShardSet, fraction: float, seed: int) -> tuple[LabelMap, list[Identity]]:
    """The label map of the training identities, and the validation identities.

    A `val` split in the data wins over splitting the training identities.
    """
    train = list(shards.identities("train"))
    own_val = list(shards.identities("val"))
    if own_val or fraction == 0:
        return LabelMap(tuple(train), tuple(shards.cameras)), own_val
    kept, held_out = split_identities(train, fraction, seed)
    return LabelMap(tuple(kept), tuple(shards.cameras)), held_out
