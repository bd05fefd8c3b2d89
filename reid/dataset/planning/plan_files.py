"""Plan files: the records of planned shards, some hundred shards in each."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import weakref
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from reid import storage
from reid.data.readers.base import Record
from reid.dataset.planning.record_text import unpacked

PLAN_FOLDER = "plan"
"""Below a set's folder, while it is being built."""
_FILE = pa.schema([("record", pa.binary())])
_PREFIX = "anyreid-plan-"
_ABANDONED_S = 7 * 86400.0
"""No planning takes so long, and a build has its own copies of what was planned."""
_SHARDS = 256
"""Shards in a plan file."""
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class PlanSlice:
    """Where the records of a shard are: the batch of a plan file."""

    uri: str
    batch: int

    def records(self) -> tuple[Record, ...]:
        """Read them. Raises StorageError when the file is gone."""
        return tuple(unpacked(text) for text in _texts(self.uri, self.batch))


class PlanFiles:
    """Writes records into plan files, a batch for each shard.

    Args:
        folder: where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = self._batch = 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._uri = ""

    def add(self, texts: pa.BinaryArray) -> PlanSlice:
        """The records of one shard, as `packed` gives them."""
        if self._writer is None or self._batch == _SHARDS:
            self.close()
            self._uri = str(self.folder / f"plan-{self._count:05d}.arrow")
            self._writer = pa.ipc.new_file(self._uri, _FILE, options=_PACKED)
            self._count, self._batch = self._count + 1, 0
        self._writer.write_batch(pa.RecordBatch.from_arrays([texts], schema=_FILE))
        self._batch += 1
        return PlanSlice(self._uri, self._batch - 1)

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is not None:
            self._writer.close()


class TemporaryPlanFolder:
    """A folder that is deleted with the last object that holds it.

    One whose process was killed stays: those that are some days old are deleted by the next plan.
    """

    def __init__(self) -> None:
        for other in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if other.stat().st_mtime < time.time() - _ABANDONED_S:
                    shutil.rmtree(other, ignore_errors=True)
        self.name = tempfile.mkdtemp(prefix=_PREFIX)
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


def _texts(uri: str, batch: int) -> list[bytes]:
    found: list[bytes] = pa.ipc.open_file(pa.BufferReader(_file(uri))).get_batch(batch)["record"].to_pylist()
    return found


@lru_cache(maxsize=2)
def _file(uri: str) -> bytes:
    """A worker's shards are often neighbours: they are in one file, which is read once."""
    return storage.read_bytes(uri)
