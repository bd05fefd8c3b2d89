"""Ctrl-C and SIGTERM within a search: Tune writes its state first, then the process ends as they ask."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.stopping import tune_stops

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """As a verb has them, and put back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Tune:
    """Listens as Ray Tune does, and writes down what happens."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.asked = threading.Event()

    def listen(self) -> None:
        if os.environ.get("TUNE_DISABLE_SIGINT_HANDLER") != "1":
            signal.signal(signal.SIGINT, self.told)
        signal.signal(signal.SIGUSR1, self.told)

    def told(self, *_: Any) -> None:
        self.asked.set()

    def fit(self) -> None:
        self.listen()
        assert self.asked.wait(5)
        self.did.append("saved")


def test_without_a_signal_nothing_changes() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    tune = Tune()
    with tune_stops(lambda: pytest.fail("told")):
        tune.listen()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert "TUNE_DISABLE_SIGINT_HANDLER" not in os.environ


def search(tune: Tune, *signals: signal.Signals) -> None:
    """A campaign that gets signals one after the other."""
    with tune_stops(lambda: tune.did.append("told")):
        tune.listen()
        for number in signals:
            signal.raise_signal(number)
        tune.fit()


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_state_is_saved_before_the_process_ends(
    number: signal.Signals, ends: type[BaseException]
) -> None:
    tune = Tune()
    with pytest.raises(ends) as caught:
        search(tune, number)
    assert tune.did == ["told", "saved"]
    assert getattr(caught.value, "code", 143) == 143


def test_a_second_ctrl_c_does_not_wait() -> None:
    tune = Tune()
    with pytest.raises(KeyboardInterrupt):
        search(tune, signal.SIGINT, signal.SIGINT)
    assert tune.did == ["told"]


def test_before_tune_listens_the_first_one_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = Tune()
    monkeypatch.setattr(tune, "listen", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        search(tune, signal.SIGINT)
    assert tune.did == []


def test_in_another_thread_signals_are_left_alone() -> None:
    ran: list[bool] = []

    def work() -> None:
        with tune_stops(lambda: None):
            ran.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]
