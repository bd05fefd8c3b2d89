"""Lines for a person while a search runs: its epochs with rate and time left, and each trial that ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from pipelines.placement.waiting import give_up
from pipelines.progress import Progress, Say, short


class TrialLines(Callback):
    """A callback of Ray Tune, which keeps it with the campaign: what it counts begins anew with each run.

    Args:
        out: takes the lines.
        trials: how many there will be.
        epochs: of a trial, at most; those that it is stopped before count as done.
        concurrent: trials at the same time.
    """

    def __init__(self, out: Say, trials: int, epochs: int, concurrent: int) -> None:
        self.out, self.trials, self.epochs, self.concurrent = out, trials, epochs, concurrent
        self._progress: Progress | None = None
        self._earlier = 0
        """Epochs of trials that ended in an earlier run."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_progress": None}

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Before Tune looks at its trials. Raises ResourceError when these have had no room for too long."""
        give_up()
        if self._progress is None:
            self._earlier = self.epochs * sum(trial.is_finished() for trial in trials)
            left = self.trials * self.epochs - self._earlier
            self._progress = Progress("tune", left, "epochs", out=self.out, parallel=self.concurrent)

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After an epoch of a trial."""
        done = sum(self._epochs_of(one) for one in trials if one is not trial) + int(result.get("epoch", 0))
        if self._progress is not None and (new := done - self._earlier - self._progress.done) > 0:
            self._progress.add(new)

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """After a trial."""
        done = 1 + sum(other.is_finished() for other in trials if other is not trial)
        last = trial.last_result or {}
        drawn = ", ".join(f"{k}={short(v)}" for k, v in trial.config.items())
        score = last.get("score")
        shown = "no score" if score is None else f"score {score:.3f} after {last.get('epoch'):g} epochs"
        self.out(f"tune: trial {done}/{self.trials}: {shown} ({drawn})")

    def _epochs_of(self, trial: Any) -> int:
        return self.epochs if trial.is_finished() else int((trial.last_result or {}).get("epoch", 0))
