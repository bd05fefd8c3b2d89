"""What libraries print past Python's own output while files are read: collected, and told as one finding."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from reid.doctor.finding import Finding

_STDERR = 2
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@contextmanager
def library_messages() -> Iterator[list[str]]:
    """Keep libraries quiet; the list is filled with their lines at the end.

    Python's warnings are collected, and what C libraries (libtiff, libpng) write to the process's stderr.
    `sys.stderr` itself, where progress is shown, still reaches the terminal.

    >>> with library_messages() as said:
    ...     warnings.warn("Corrupt EXIF data")
    >>> said
    ['Corrupt EXIF data']
    """
    said: list[str] = []
    shown = sys.stderr
    with tempfile.TemporaryFile() as spool, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kind in _FOR_DEVELOPERS:
            warnings.simplefilter("ignore", kind)
        kept = os.dup(_STDERR)
        terminal = os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="replace", buffering=1)
        ours = _is_stderr(shown)
        try:
            if ours:
                shown.flush()
                sys.stderr = terminal
            os.dup2(spool.fileno(), _STDERR)
            yield said
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            if ours:
                sys.stderr = shown
            terminal.close()
            spool.seek(0)
            lines = spool.read().decode("utf-8", errors="replace").splitlines()
            said += [line for line in [*lines, *(str(one.message) for one in caught)] if line.strip()]


def _is_stderr(stream: object) -> bool:
    """Whether a stream writes to the process's stderr; a test's own does not."""
    try:
        return bool(stream.fileno() == _STDERR)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def messages_finding(said: list[str]) -> list[Finding]:
    """One finding for all lines; none without any.

    >>> [(f.code, f.count) for f in messages_finding(["a.tif: unknown tag", "a.tif: unknown tag"])]
    [('library-messages', 2)]
    """
    if not said:
        return []
    distinct = list(dict.fromkeys(line.strip() for line in said))
    more = "" if len(distinct) == 1 else f", {len(distinct)} of them distinct"
    return [
        Finding(
            "info",
            "library-messages",
            f"The libraries that read files said {len(said)} lines{more}.",
            "\n".join(distinct[:3]),
            "what could be decoded is used as it is; write the files anew if their pictures look wrong",
            len(said),
        )
    ]
