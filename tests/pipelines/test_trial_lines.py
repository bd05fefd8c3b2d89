"""A search tells its epochs with the time left, and each trial with its score."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

from pipelines.trial_lines import TrialLines


def a_trial(name: str, epoch: int = 0, score: float | None = None, done: bool = False) -> Any:
    last = {"epoch": epoch, "score": score} if epoch else None
    return SimpleNamespace(config={"lr": 0.0123456, "name": name}, last_result=last, is_finished=lambda: done)


def test_epochs_are_counted_also_those_that_a_stopped_trial_does_not_take() -> None:
    said: list[str] = []
    lines = TrialLines(said.append, trials=2, epochs=4, concurrent=1)
    first, second = a_trial("a"), a_trial("b")
    lines.on_step_begin(0, [first, second])
    lines.on_trial_result(1, [first, second], first, {"epoch": 1})
    first = a_trial("a", epoch=1, score=0.5, done=True)
    lines.on_trial_complete(1, [first, second], first)
    for epoch in range(1, 5):
        lines.on_trial_result(2, [first, second], second, {"epoch": epoch})
    assert said[0] == "tune: trial 1/2: score 0.500 after 1 epochs (lr=0.01235, name=a)"
    assert said[1].startswith("tune: 8/8 epochs (100 %), ")


def test_a_campaign_that_goes_on_counts_what_is_left_to_it() -> None:
    said: list[str] = []
    kept = TrialLines(print, trials=3, epochs=4, concurrent=1)
    kept.on_step_begin(0, [])
    lines = pickle.loads(pickle.dumps(kept))
    lines.out = said.append
    earlier, now = a_trial("a", epoch=2, score=0.5, done=True), a_trial("b")
    lines.on_step_begin(0, [earlier, now])
    for epoch in range(1, 5):
        lines.on_trial_result(1, [earlier, now], now, {"epoch": epoch})
    assert said == []
    last = a_trial("c")
    now = a_trial("b", epoch=4, score=0.1, done=True)
    for epoch in range(1, 5):
        lines.on_trial_result(2, [earlier, now, last], last, {"epoch": epoch})
    assert said[0].startswith("tune: 8/8 epochs (100 %), ")
