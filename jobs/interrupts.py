"""What Ctrl-C and SIGTERM do: end the verb with its own exit code, or ask an endpoint to stop."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C; Typer turns KeyboardInterrupt into it."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM."""


def end_on_signals() -> None:
    """From now on SIGTERM unwinds the main thread as Ctrl-C does, so that what is open gets closed.

    Neither waits for a store that is out: what a thread still writes there is tried once.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _interrupt)


def _end(*_: Any) -> None:
    _wait_no_more()
    sys.exit(TERMINATED)


def _interrupt(*_: Any) -> None:
    _wait_no_more()
    raise KeyboardInterrupt


def _wait_no_more() -> None:
    # Not imported here: a handler may come in the middle of an import, and `--help` needs no storage.
    if (retry := sys.modules.get("reid.storage.retry")) is not None:
        retry.wait_no_more()


def stop_asked() -> threading.Event:
    """What the first Ctrl-C or SIGTERM from now on sets; a second one ends the process as usual, at once."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    asked = threading.Event()

    def told(*_: Any) -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)
        asked.set()

    for number in usual:
        signal.signal(number, told)
    return asked
