"""Which identities are trained on and which validate, and their labels."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reid.data.shards.identity_list import Identity, IdentityList, IdentityMap
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError

log = logging.getLogger(__name__)

_CAMERAS = "anyreid.cameras"
_TOLD = 1_000_000
LEAST = 2
"""Identities on each side of a split: among the pictures of a single one everything found is right."""


class LabelMap:
    """Sorted identities and cameras; a label is a position. Equal on every machine.

    >>> labels = LabelMap([("a", 3), ("b", 1)], [0, 4])
    >>> labels.labels["b", 1], labels.camera_labels[4], len(labels.classes)
    (1, 1, 2)
    """

    def __init__(self, classes: Iterable[Identity], cameras: Iterable[int]) -> None:
        self.classes = IdentityList.of(classes)
        """Identities in label order, as columns."""
        self.cameras = tuple(cameras)

    @cached_property
    def labels(self) -> IdentityMap:
        """Identity -> contiguous label."""
        order = self.classes.order
        numbers = np.arange(len(self.classes), dtype=np.int64) if order is None else order
        return IdentityMap(self.classes.sorted(), numbers)

    @property
    def camera_labels(self) -> dict[int, int]:
        """camid -> contiguous label."""
        return {camid: i for i, camid in enumerate(self.cameras)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelMap):
            return NotImplemented
        return self.cameras == other.cameras and self.classes == other.classes

    def __hash__(self) -> int:
        return hash((self.classes, self.cameras))

    def __repr__(self) -> str:
        return f"<LabelMap of {len(self.classes)} identities and {len(self.cameras)} cameras>"

    def to_parquet(self) -> bytes:
        """A table of (dataset, pid) in label order; the cameras are in its metadata, as JSON."""
        columns = {
            "dataset": pa.DictionaryArray.from_arrays(
                pa.array(self.classes.dataset, pa.int32()), pa.array(self.classes.datasets, pa.string())
            ),
            "pid": pa.array(self.classes.pid, pa.int64()),
        }
        table = pa.table(columns).replace_schema_metadata({_CAMERAS: json.dumps(list(self.cameras))})
        stream = io.BytesIO()
        pq.write_table(table, stream, compression="zstd")
        return stream.getvalue()

    @classmethod
    def from_parquet(cls, data: bytes) -> LabelMap:
        """Inverse of `to_parquet`. Raises pyarrow.ArrowInvalid for other bytes."""
        table = pq.read_table(io.BytesIO(data))
        dataset = table["dataset"].combine_chunks()
        dataset = dataset if pa.types.is_dictionary(dataset.type) else dataset.dictionary_encode()
        names = dataset.dictionary.to_pylist()
        ranked = sorted(names)
        code = np.array([ranked.index(name) for name in names], np.int32)
        classes = IdentityList(
            ranked,
            code[dataset.indices.to_numpy()] if len(names) else np.zeros(0, np.int32),
            table["pid"].to_numpy(),
        )
        return cls(classes, json.loads((table.schema.metadata or {}).get(_CAMERAS.encode(), b"[]")))

    @classmethod
    def from_json(cls, tree: dict[str, list[Any]]) -> LabelMap:
        """From labels.json, which runs of earlier versions have."""
        return cls([(str(d), int(p)) for d, p in tree["classes"]], [int(c) for c in tree["cameras"]])


def split_identities(
    identities: Iterable[Identity], fraction: float, seed: int
) -> tuple[IdentityList, IdentityList]:
    """(training, validation) identities: the seeded-hash-smallest `fraction` validate. Both sorted.

    A fraction above 0 holds out LEAST at least. Raises ConfigError when fewer than LEAST are left to train.
    """
    listed = IdentityList.of(identities).sorted()
    total = len(listed)
    count = max(round(total * fraction), LEAST) if fraction else 0
    if count and total - count < LEAST:
        raise ConfigError(
            f"train.val.fraction: {total} training identities are too few to hold out {count} and "
            f"train on {LEAST} or more. Lower it, add identities, or set it to 0 to train without validation."
        )
    held_out = np.zeros(total, bool)
    if count:
        if total > _TOLD:
            log.info("train.val.fraction: %d identities are drawn from %d, which takes a while", count, total)
        held_out[np.lexsort(_draws(listed, seed).T[::-1])[:count]] = True
    return listed.take(~held_out), listed.take(held_out)


def _draws(identities: IdentityList, seed: int) -> NDArray[np.uint64]:
    """(n, 4) the SHA-256 of each identity with the seed, as numbers that sort as its digits."""
    size = hashlib.sha256().digest_size
    digests = bytearray(size * len(identities))
    for place, (dataset, pid) in enumerate(identities):
        start = size * place
        digests[start : start + size] = hashlib.sha256(f"{seed}|{dataset}|{pid}".encode()).digest()
    return np.frombuffer(digests, ">u8").reshape(-1, size // 8).astype(np.uint64)


def training_labels(shards: ShardSet, fraction: float, seed: int) -> tuple[LabelMap, IdentityList]:
    """The label map of the training identities, and the validation identities.

    A `val` split in the data wins over splitting the training identities.
    """
    train = shards.identities("train").identities
    own_val = shards.identities("val").identities
    if len(own_val) or fraction == 0:
        return LabelMap(train, shards.cameras), own_val
    kept, held_out = split_identities(train, fraction, seed)
    return LabelMap(kept, shards.cameras), held_out
