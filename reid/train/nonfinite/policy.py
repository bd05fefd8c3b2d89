"""What follows a step that is not finite: the end, the next step, or a return to the last checkpoint."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from reid.errors import TrainingError
from reid.nn.distributed import rank
from reid.train.nonfinite.bad_step import BadStep
from reid.train.nonfinite.repro_folder import write_repro
from reid.train.reports import TrainingObserver
from reid.train.setup import TrainingParts

ADVICE = "Lower train.optim.lr, lengthen train.optim.warmup_epochs, or use train.compute.precision=fp32."


class NonFinitePolicy:
    """Decides as `train.nonfinite` says; every rank decides the same.

    With policy rewind the state of the last checkpoint of this process, or of its beginning, stays in the
    main memory of every rank: no rank waits for storage to go back to it.
    """

    def __init__(self, parts: TrainingParts, observer: TrainingObserver, run_uri: str | None) -> None:
        """`run_uri` None: nothing is recorded beside the run."""
        self.parts, self.observer, self.run_uri = parts, observer, run_uri
        self.settings = parts.config.train.nonfinite
        self._kept: dict[str, Any] = {}
        self.remember()

    def remember(self) -> None:
        """This is the state to which a rewinding goes back."""
        if self.settings.policy != "rewind":
            return
        parts = self.parts
        self._kept = {
            "model": _on_cpu(parts.model.state_dict()),
            "optimizer": _on_cpu(parts.optimizer.state_dict()),
            "progress": _apart(vars(parts.progress)),
        }

    def __call__(self, bad: BadStep) -> None:
        """Record the step and go on, or raise TrainingError: on `stop`, and after more than `at_most`."""
        progress, settings = self.parts.progress, self.settings
        where = write_repro(self.run_uri, self.parts, bad) if self.run_uri is not None else None
        hint = "" if where is None else f" `anyreid train --repro {where}` replays it."
        if settings.policy == "stop":
            raise TrainingError(f"{bad.what()} {ADVICE}{hint}")
        progress.events.append({"epoch": bad.epoch, "step": bad.step, "total": progress.step})
        count = f"{len(progress.events)} of at most {settings.at_most}"
        if len(progress.events) > settings.at_most:
            raise TrainingError(
                f"{bad.what()} More than train.nonfinite.at_most={settings.at_most} of them. {ADVICE}{hint}"
            )
        if settings.policy == "skip":
            progress.done += 1
            progress.step += 1
            self._tell(f"{bad.what()} The step is skipped ({count}).{hint}")
            return
        self._rewind()
        self._tell(
            f"{bad.what()} Going back to epoch {progress.epoch}, step {progress.done}, with "
            f"{progress.lr_factor:g} times the learning rate ({count}).{hint}"
        )

    def _rewind(self) -> None:
        parts, progress = self.parts, self.parts.progress
        events, factor = progress.events, progress.lr_factor * self.settings.rewind_factor
        parts.model.load_state_dict(self._kept["model"])
        parts.optimizer.load_state_dict(copy.deepcopy(self._kept["optimizer"]))  # else it writes into ours
        vars(progress).update(_apart(self._kept["progress"]))
        progress.events, progress.lr_factor = events, factor
        self.observer.begin(parts)

    def _tell(self, line: str) -> None:
        if rank() == 0:
            self.observer.notice(line)


def _on_cpu(tree: Any) -> Any:
    """A copy in main memory."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: _on_cpu(value) for key, value in tree.items()}
    return [_on_cpu(value) for value in tree] if isinstance(tree, list) else copy.copy(tree)


def _apart(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a progress whose lists and dicts are their own; tensors are never written to."""
    return {name: copy.copy(value) for name, value in fields.items()}
