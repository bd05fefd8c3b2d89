"""Ctrl-C and SIGTERM in a Ray Tune campaign, which has to write its state before the process ends.

Tune's own handler takes Ctrl-C for itself and returns as if the campaign had ended, and knows no SIGTERM. Its
other interrupt, SIGUSR1, does the same work; here both signals lead to it, and end the process afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OWN_HANDLER = "TUNE_DISABLE_SIGINT_HANDLER"


@contextmanager
def tune_stops(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block the first Ctrl-C or SIGTERM interrupts Ray Tune; its end then ends the process.

    `tell` says so when the signal comes. A second signal does at once what it did before the block. Without
    Tune running yet, the first does, too. In another thread than the main one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in _SIGNALS}
    before = signal.getsignal(signal.SIGUSR1)
    flag = os.environ.get(_OWN_HANDLER)
    asked: list[int] = []

    def end(number: int) -> None:
        handler = usual[signal.Signals(number)]
        if callable(handler):
            handler(number, None)
        sys.exit(128 + number)

    def stop(number: int, frame: FrameType | None) -> None:
        _restore(usual)
        if signal.getsignal(signal.SIGUSR1) is before:  # Tune does not listen yet
            end(number)
        asked.append(number)
        tell()
        signal.raise_signal(signal.SIGUSR1)

    os.environ[_OWN_HANDLER] = "1"
    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        _restore({**usual, signal.SIGUSR1: before})
        if flag is None:
            del os.environ[_OWN_HANDLER]
        else:
            os.environ[_OWN_HANDLER] = flag
    if asked:
        end(asked[0])


def _restore(handlers: Mapping[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
