"""Weights & Biases: a run that is sent while training, or kept as files for `wandb sync`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid import storage
from reid.config.sections.training.tracking import WandbConfig
from reid.train.tracking.tracker import Logged, RunFacts, Tracker


class Wandb(Tracker):
    """Logs configuration and metrics; a resumed run goes on under the same id.

    Its files lie in `<run>/wandb`; for a run folder on an object store they lie in a temporary folder, and
    those of the offline mode are copied when the run ends.

    Args:
        facts: of the run.
        config: the settings.
    """

    name = "W&B"

    def __init__(self, facts: RunFacts, config: WandbConfig) -> None:
        self.facts, self.config = facts, config
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._run: Any = None
        self._attempt = 0

    def begin(self, total: int) -> None:
        """Open the run. W&B deletes nothing: rows beyond `total` stay, told apart by `resumed_at`."""
        import wandb

        self._attempt = total
        if self._run is not None:
            return
        if storage.is_remote(self.facts.run):
            self._scratch = self._scratch or tempfile.TemporaryDirectory()
        offline = self.config.mode == "offline"
        self._run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            tags=self.config.tags or None,
            mode=self.config.mode,
            id=self.facts.key,
            resume=None if offline else "allow",  # offline files of one id are joined when they are sent
            name=self.facts.name,
            dir=self._folder,
            config={**self.facts.config, "facts": self.facts.facts},
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        self._run.define_metric("total")
        self._run.define_metric("*", step_metric="total")

    def log(self, at: Logged) -> None:
        """A row over the axis `total`."""
        row = {"total": at.total, "epoch": at.epoch, **at.metrics}
        self._run.log({**row, "resumed_at": self._attempt} if self._attempt else row)

    def end(self, why: str, final: Mapping[str, float]) -> None:
        """Final metrics in the summary; the files of the offline mode are kept."""
        self._run.summary.update({"status": why, **{f"final/{k}": v for k, v in final.items()}})
        self._run.finish(exit_code=0 if why == "finished" else 1)
        self._run = None
        if self._scratch is None:
            return
        root = Path(self._scratch.name)
        if self.config.mode == "offline":
            for file in sorted(root.rglob("*")):
                if file.is_file() and not file.is_symlink():
                    place = storage.join(self.facts.run, *file.relative_to(root).parts)
                    storage.write_bytes(place, file.read_bytes())
        self._scratch.cleanup()
        self._scratch = None

    @property
    def _folder(self) -> str:
        folder = self._scratch.name if self._scratch else storage.absolute(self.facts.run)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return folder
