"""A loader process, seen from both sides.

It is a plain program, not a fork: a fork of a process with threads (torch, Ray, Arrow) may hang, and Python's
own ways to start one run the caller's main file again. It ends when its pipe does, so it outlives nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import torch

from reid import errors
from reid.data.batches.batch import Batch
from reid.data.batches.batch_task import BatchTask
from reid.data.batches.collate import Collator, PixelCache
from reid.errors import ResourceError
from reid.train.loading.packing import Allocate, pack, unpack
from reid.train.loading.shared_block import SharedBlock, anonymous_file

_PROGRAM = f"import sys; from {__name__} import main; main(*sys.argv[1:])"
_GRACE_S = 5.0
"""How long a process may take to end after it was told to."""


class LoaderProcess:
    """One process that makes a batch at a time."""

    def __init__(self, collator: Collator, cache_bytes: int, name: str) -> None:
        """Start it; it imports what it needs meanwhile. `name` is how errors call it."""
        self.name = name
        self._setup = portable(collator), cache_bytes
        self._told = False
        self._pipe, theirs = Pipe()
        self._block = SharedBlock(anonymous_file())
        descriptors = theirs.fileno(), self._block.descriptor
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def make(self, task: BatchTask, allocate: Allocate) -> Batch:
        """The task's batch, in memory from `allocate`.

        Raises what making it raises, and ResourceError when the process is gone.
        """
        try:
            if not self._told:
                self._pipe.send(self._setup)
                self._told = True
            self._pipe.send(task)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ResourceError(self._obituary()) from error
        if isinstance(answer, _Failure):
            raise answer.error(self.name)
        places, size = answer
        block = allocate(size)
        block.copy_(self._block.at_least(size)[:size])
        return unpack(places, block)

    def _obituary(self) -> str:
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return f"{self.name} (pid {self.pid}) closed its pipe and does not end."
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return (
            f"{self.name} (pid {self.pid}) {how}. If memory ran out, lower train.loader.count, "
            "train.loader.prefetch or data.cache_mib."
        )

    def stop(self) -> None:
        """Tell it to end; a batch that it is making is lost."""
        self._process.terminate()

    def close(self) -> None:
        """Wait until it has ended, and give back its memory. No `make` may be running."""
        self.stop()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe.close()
        self._block.close()


def portable(collator: Collator) -> Collator:
    """The same without what another process cannot use: the cache, and the reader of the raw files."""
    return replace(collator, cache=None, data=collator.data.model_copy(update={"reader": None}))


@dataclass(frozen=True)
class _Failure:
    """An error of the loader process, which may be of a class that cannot be pickled."""

    kind: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        return cls(type(error).__name__, str(error), traceback.format_exc())

    def error(self, process: str) -> Exception:
        """The same error if it is one of ours, else one with its traceback."""
        known = getattr(errors, self.kind, None)
        if isinstance(known, type) and issubclass(known, errors.AnyReIDError):
            return known(self.message)
        return RuntimeError(f"{process} failed:\n{self.traceback}")


def serve(pipe: Connection, block: SharedBlock) -> None:
    """Answer tasks until the pipe ends. Runs in the loader process."""
    collator: Collator
    collator, cache_bytes = pipe.recv()
    collator.cache = PixelCache(cache_bytes)
    while True:
        task: BatchTask = pipe.recv()
        answer: Any
        try:
            answer = pack(task.made(collator), block.at_least)
        except Exception as error:  # the training process raises it
            answer = _Failure.of(error)
        pipe.send(answer)


def main(pipe: str, block: str) -> None:
    """The program: descriptors of the pipe and of the shared block."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a whole terminal; the training answers it
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):  # the training process has ended or closed the pipe
        serve(Connection(int(pipe)), SharedBlock(int(block)))
