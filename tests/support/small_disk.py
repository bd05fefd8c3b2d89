"""A disk of a few MiB that can be filled: a real file system whose writes fail when it is full."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class NoSmallDisk(Exception):
    """It cannot be mounted; says why."""


class SmallDisk:
    """A tmpfs; `fill` takes its room, `empty` gives it back. Needs the right to mount.

    >>> with SmallDisk(tmp_path) as disk:  # doctest: +SKIP
    ...     disk.fill(leave=4096)
    """

    def __init__(self, folder: Path, mib: int = 64) -> None:
        self.folder, self._mib = folder, mib

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self._mib}m", "tmpfs", str(self.folder)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise NoSmallDisk("there is no `mount` on this system") from None
        if done.returncode:
            raise NoSmallDisk(f"a small disk cannot be mounted here ({done.stderr.strip()})")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self, leave: int) -> None:
        """Take all room but so many bytes."""
        taken = shutil.disk_usage(self.folder).free - leave
        with open(self._ballast, "ab") as file:
            file.write(b"\0" * taken)

    def empty(self) -> None:
        """Give it back."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"
