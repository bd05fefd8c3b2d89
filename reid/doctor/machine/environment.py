"""The examination of a machine: everything that must be in place before a verb can work."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from reid import storage
from reid.doctor.finding import Check
from reid.doctor.machine.hardware import (
    cpu_check,
    disk_check,
    memory_check,
    shared_memory_check,
    torch_checks,
)
from reid.doctor.machine.packages import import_checks, package_checks, requirements


def checks(workdir: str) -> Iterator[Check]:
    """Every check but Ray's, one after the other."""
    yield from package_checks(*requirements())
    yield from import_checks()
    yield from torch_checks()
    yield cpu_check()
    yield memory_check()
    if not storage.is_remote(workdir):
        yield disk_check("disk", storage.absolute(workdir))
    yield disk_check("disk for Ray", tempfile.gettempdir())
    yield shared_memory_check()
    # Imported late: a broken torch is a line above, not the end.
    from reid.doctor.machine.places import storage_check, weights_checks

    yield storage_check(workdir)
    yield from weights_checks()
