"""The lines of a training on Ray: written by rank 0, wherever it runs, and shown by the driver."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from pipelines.progress import Say
from reid import storage
from reid.errors import StorageError
from reid.storage.parts import Part, PartWriter, list_parts, read_parts

log = logging.getLogger(__name__)

FOLDER = "log"
_SOON_S = 2.0
"""How long a line waits for a slow store; then training goes on, and the line is written later."""
_LOOK_S, _LONGEST_LOOK_S = 1.0, 10.0
_PARTS_A_SECOND = 1000


class RunLog:
    """Lines in the folder `<run>/log`, as parts that are appended: the same on disk and on S3."""

    def __init__(self, run: str) -> None:
        self.folder = storage.join(run, FOLDER)
        self._writer: PartWriter | None = None

    def write(self, line: str) -> None:
        """Append a line; a store that fails is told once, and the line is kept until it is back."""
        if self._writer is None:
            self._writer = PartWriter(self.folder, "txt", every_s=0.0, tell=log.warning)
        self._writer.add(line)
        self._writer.flush(_SOON_S)

    def lines(self) -> list[str]:
        """All lines so far. Raises StorageError."""
        return [line for _, lines in read_parts(list_parts(self.folder)) for line in lines]

    @contextlib.contextmanager
    def shown(self, out: Say) -> Iterator[None]:
        """Show new lines while the block runs."""
        ended = threading.Event()
        known = set(list_parts(self.folder))
        thread = threading.Thread(target=self._follow, args=(out, known, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _follow(self, out: Say, known: set[Part], ended: threading.Event) -> None:
        is_told = False
        while True:
            last = ended.wait(pause_s(len(known)))
            try:
                for part, lines in read_parts([p for p in list_parts(self.folder) if p not in known]):
                    known.add(part)
                    for line in lines:
                        out(line)
            except StorageError as error:  # what only tells stops nothing
                if not is_told:
                    out(f"train: its lines cannot be read for now ({error})")
                is_told = True
            if last:
                return


def pause_s(parts: int) -> float:
    """Seconds between two looks at a folder of so many parts: a store lists a thousand in a request.

    >>> pause_s(10), pause_s(5000), pause_s(100_000)
    (1.0, 5.0, 10.0)
    """
    return min(_LONGEST_LOOK_S, max(_LOOK_S, parts / _PARTS_A_SECOND))
