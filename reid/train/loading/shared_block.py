"""Memory that two processes share, which nobody has to remove: it is gone when both are."""

from __future__ import annotations

import mmap
import os
import tempfile

import torch
from torch import Tensor


def anonymous_file() -> int:
    """Descriptor of a file without a name, in memory where the system can (Linux)."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("batch", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedBlock:
    """A growing block of bytes in an anonymous file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    def at_least(self, size: int) -> Tensor:
        """The block as (n,) uint8 with n >= `size`. What an earlier call gave is no longer to be used."""
        size = max(size, 1)
        if self._mapped is None or len(self._mapped) < size:
            if os.fstat(self.descriptor).st_size < size:
                os.ftruncate(self.descriptor, size)
            self._mapped = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return torch.frombuffer(self._mapped, dtype=torch.uint8)

    def close(self) -> None:
        """Give the memory back as soon as no tensor shows it."""
        self._mapped = None
        os.close(self.descriptor)
