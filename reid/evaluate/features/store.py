"""Vectors on disk or S3: a few large Arrow files below a folder, written once each and read by column.

```
<folder>/<name>.arrow     key (16 bytes), vector (dim x float32); uncompressed, so that it can be mapped
```

Every file names the weights and the shard set that its vectors are of. Writers add files; `compact` joins
small ones. A local file is memory-mapped; one on S3 is copied to a temporary file first, and that is mapped.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from reid import storage
from reid.errors import DataError, StorageError
from reid.evaluate.features.table import FeatureTable, Keys, Vectors
from reid.storage.copies import download
from reid.storage.retry import retried

log = logging.getLogger(__name__)

FILE_BYTES = 256 * 2**20
"""Size that files are joined to."""
MANY = 16
"""Small files that are left alone: joining few of them costs more than it gives."""
SUFFIX = ".arrow"
EARLIER = ".parquet"
_TRIES = 5
"""Readings that files which other processes join meanwhile may spoil, before that is an error."""


class FeatureSet:
    """The vectors of one model on one shard set, by key. Files are added, never changed."""

    def __init__(self, uri: str, model: str, data: str) -> None:
        """`model` and `data` are the fingerprints of the weights and of the shard set."""
        self.uri = uri
        self.of = {"anyreid.model": model, "anyreid.data": data}

    def add(self, keys: Keys, vectors: Vectors) -> str:
        """Write one file of (n, 2) keys with (n, dim) float32 vectors, named by its keys; returns its uri."""
        packed = keys.astype(">u8").tobytes()
        uri = storage.join(self.uri, storage.sha256(packed)[:16] + SUFFIX)
        storage.write_bytes(uri, self._file(packed, vectors))
        return uri

    def read(self) -> FeatureTable:
        """Every stored vector.

        Raises DataError for a file that is of other weights or of other data, or that is damaged.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                files = self._files()
                return FeatureTable([block for uri in files for block in self._blocks(uri)], files)
            except (FileNotFoundError, StorageError):  # another process has just joined it with others
                if not tries_left:
                    raise
        raise AssertionError

    def compact(self) -> int:
        """Join small files, when there are many; returns how many were joined. A kill loses nothing.

        Where another process joins them at the same time, the rest is left to it.
        """
        small = [
            (info.size, storage.join(self.uri, info.base_name))
            for info in storage.list_infos(self.uri)
            if info.base_name.endswith(SUFFIX) and info.size < FILE_BYTES // 2
        ]
        if len(small) <= MANY:
            return 0
        batches: list[list[str]] = [[]]
        held = 0
        for size, uri in sorted(small, key=lambda pair: pair[1]):
            if held + size > FILE_BYTES and batches[-1]:
                batches.append([])
                held = 0
            batches[-1].append(uri)
            held += size
        joined = 0
        for files in batches:
            if len(files) > 1:
                try:
                    blocks = [block for uri in files for block in self._blocks(uri)]
                except (FileNotFoundError, StorageError) as error:
                    log.info("%s: another process joins its files (%s)", self.uri, error)
                    return joined
                kept = self.add(
                    np.concatenate([k for k, _ in blocks]), np.concatenate([v for _, v in blocks])
                )
                for uri in files:
                    if uri != kept:
                        storage.delete_file(uri)
                joined += len(files)
        return joined

    def earlier_files(self) -> int:
        """How many files of an earlier version lie here, which are not read."""
        return len(storage.list_files(self.uri, EARLIER))

    def _files(self) -> list[str]:
        return storage.list_files(self.uri, SUFFIX)

    def _file(self, packed: bytes, vectors: Vectors) -> pa.Buffer:
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        table = pa.table(
            [
                pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), len(vectors), [None, pa.py_buffer(packed)]
                ),
                pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            ],
            names=["key", "vector"],
        ).replace_schema_metadata(self.of)
        stream = pa.BufferOutputStream()
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
        return stream.getvalue()

    def _blocks(self, uri: str) -> list[tuple[Keys, Vectors]]:
        try:
            reader = pa.ipc.open_file(_mapped(uri))
            said = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{uri}: a damaged file of vectors ({error}); delete it to embed again."
            ) from None
        stray = {name: said.get(name) for name in self.of if said.get(name) != self.of[name]}
        if stray:
            raise DataError(
                f"{uri}: vectors of {stray}, but this is {self.of}; they cannot be compared. Delete "
                f"{self.uri} to embed again."
            )
        return [(_keys(batch["key"]), _matrix(batch["vector"])) for batch in batches]


def _mapped(uri: str) -> pa.MemoryMappedFile:
    """The file as memory that the system reads and drops as it likes."""
    if not storage.is_remote(uri):
        return retried(uri, lambda: pa.memory_map(storage.absolute(uri)))
    handle, path = tempfile.mkstemp(suffix=SUFFIX)
    os.close(handle)
    try:
        download(uri, Path(path))  # in pieces: a file is never whole in memory
        return pa.memory_map(path)
    finally:
        os.unlink(path)  # the map keeps its content


def _keys(column: pa.FixedSizeBinaryArray) -> Keys:
    packed = np.frombuffer(column.buffers()[1], ">u8").reshape(-1, 2)
    return packed[column.offset : column.offset + len(column)].astype(np.uint64)


def _matrix(column: pa.FixedSizeListArray) -> Vectors:
    flat: Vectors = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), -1)
