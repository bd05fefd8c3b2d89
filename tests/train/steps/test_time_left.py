"""The estimate of the time left is right soon, with what happens between epochs."""

from __future__ import annotations

import pytest

from reid.train.steps.time_left import TimeLeft

EPOCHS, STEPS, EVERY = 20, 50, 10


def estimates(validation_s: float, checkpoint_s: float, first_s: float = 30.0) -> list[tuple[float, float]]:
    """(share of the training done, estimate / truth) at each report of a made-up training of 1 s a step."""
    now = 0.0
    left = TimeLeft(EPOCHS, clock=lambda: now)
    seen: list[tuple[float, float | None]] = []
    for epoch in range(EPOCHS):
        for step in range(1, STEPS + 1):
            now += first_s if epoch == 0 and step == 1 else 1.0 + 0.3 * (step % 3 - 1)
            if step == 25:
                now += checkpoint_s
            if step % EVERY == 0:
                left.step(epoch, step, STEPS)
                seen.append((now, left.seconds()))
        now += validation_s
        left.epoch(epoch + 1)
        seen.append((now, left.seconds()))
    return [(at / now, guess / (now - at)) for at, guess in seen if guess is not None and at < 0.97 * now]


@pytest.mark.parametrize(("validation_s", "checkpoint_s"), [(0, 0), (60, 0), (0, 20), (40, 10)])
def test_after_a_tenth_of_the_training_it_is_right_within_a_factor_of_one_and_a_half(
    validation_s: float, checkpoint_s: float
) -> None:
    found = [ratio for done, ratio in estimates(validation_s, checkpoint_s) if done >= 0.1]
    assert len(found) > 50
    assert all(1 / 1.5 < ratio < 1.5 for ratio in found), (min(found), max(found))


def test_a_resumed_training_counts_the_epochs_that_are_left_to_it() -> None:
    now = 0.0
    left = TimeLeft(10, clock=lambda: now)
    assert left.seconds() is None
    for step in (20, 30):
        now += 10.0
        left.step(8, step, 50)
    assert left.seconds() == pytest.approx(20 + 50)
