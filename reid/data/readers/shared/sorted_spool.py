"""Items sorted by a key, on disk where they are many: what a reader lists needs no memory of its own size."""

from __future__ import annotations

import heapq
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

Item = TypeVar("Item")
MOST = 250_000
"""Items that are sorted in memory."""
_READ = 1024
_RUN = pa.schema([("key", pa.binary()), ("item", pa.binary())])
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


class SortedSpool(Generic[Item]):
    """Items by key: `add` them in any order, then take them by `groups`, as often as wanted.

    Up to `most` are held as they are. More are written, so many at a time, to a temporary folder, which goes
    with the spool.

    Args:
        pack: an item as bytes.
        unpack: the inverse.
        most: items in memory.

    >>> spool = SortedSpool(str.encode, bytes.decode, most=2)
    >>> for word in ("pear", "fig", "plum", "apple"):
    ...     spool.add(word[0], word)
    >>> list(spool.groups())
    [['apple'], ['fig'], ['pear', 'plum']]
    """

    def __init__(
        self, pack: Callable[[Item], bytes], unpack: Callable[[bytes], Item], most: int = MOST
    ) -> None:
        self.pack, self.unpack, self.most = pack, unpack, most
        self._held: list[tuple[str, Item]] = []
        self._runs: list[Path] = []

    def add(self, key: str, item: Item) -> None:
        """One more item."""
        self._held.append((key, item))
        if len(self._held) > self.most:
            self._write()

    def groups(self) -> Iterator[list[Item]]:
        """The items of each key, by key; those of one key as they came."""
        self._held.sort(key=itemgetter(0))  # stable
        for _, same in groupby(self._merged(), key=itemgetter(0)):
            yield [item for _, item in same]

    def _merged(self) -> Iterator[tuple[str, Item]]:
        if not self._runs:
            return iter(self._held)
        return heapq.merge(*map(self._read, self._runs), self._held, key=itemgetter(0))  # stable

    def _write(self) -> None:
        if not self._runs:
            folder = tempfile.mkdtemp(prefix="anyreid-listing-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._folder = Path(folder)
        self._held.sort(key=itemgetter(0))
        self._runs.append(self._folder / f"run-{len(self._runs):05d}.arrow")
        with pa.ipc.new_stream(str(self._runs[-1]), _RUN, options=_PACKED) as writer:
            for start in range(0, len(self._held), _READ):
                some = self._held[start : start + _READ]
                keys = pa.array([key.encode("utf-8", "surrogatepass") for key, _ in some], pa.binary())
                items = pa.array([self.pack(item) for _, item in some], pa.binary())
                writer.write_batch(pa.RecordBatch.from_arrays([keys, items], schema=_RUN))
        self._held = []

    def _read(self, path: Path) -> Iterator[tuple[str, Item]]:
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as run:
            for batch in run:
                for key, item in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield key.decode("utf-8", "surrogatepass"), self.unpack(item)
