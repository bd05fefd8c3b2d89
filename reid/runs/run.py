"""A loaded run: a trained embedder in memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from reid.config import Config
from reid.data.batches.batch_row import BatchRow, Parts, RowPart
from reid.data.batches.collate import Collator
from reid.errors import WeightsError
from reid.evaluate.calibration.calibration import Calibration
from reid.models.base import ModelContext, ReIDModel, Side
from reid.models.registry import build_model
from reid.runs.embedding import Vectors, embed_rows
from reid.runs.folder import RunFolder
from reid.runs.identities import LabelMap


def model_context(config: Config, labels: LabelMap) -> ModelContext:
    """What the model is built for."""
    return ModelContext(
        num_classes=len(labels.classes),
        num_cameras=max(1, len(labels.cameras)),
        height=config.data.height,
        width=config.data.width,
        modalities=config.data.modalities,
    )


class Run:
    """A trained embedder in memory."""

    def __init__(self, folder: RunFolder, model: ReIDModel, device: torch.device) -> None:
        self.folder = folder
        self.uri = folder.uri
        self.fingerprint = folder.fingerprint
        self.config = folder.config
        self.labels = folder.labels()
        self.model = model
        self.device = device
        self.collator = Collator(self.config.data, self.labels.camera_labels, auxiliary=model.auxiliary)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What its similarities mean, read at the first use; None if nobody could tell."""
        return self.folder.calibration()

    def embed_rows(self, rows: Sequence[BatchRow], side: Side, batch_size: int = 64) -> Vectors:
        """(n, dim) float32 unit vectors of rows whose parts carry camera ids."""
        return embed_rows(self.model, self.collator, rows, side, batch_size, self.device)

    def embed(self, rows: Sequence[Parts], side: Side, batch_size: int = 64) -> Vectors:
        """(n, dim) float32 unit vectors of encoded images and sentences from an unknown camera.

        Raises DataError naming the modality of a picture that cannot be decoded.
        """
        named = [
            BatchRow({m: RowPart(content, source=m.value) for m, content in parts.items()}) for parts in rows
        ]
        return self.embed_rows(named, side, batch_size)


def load_run(uri: str, device: str | torch.device = "cpu") -> Run:
    """Load a finished run. Raises WeightsError when it is not there or does not fit its own config."""
    folder = RunFolder.open(uri)
    config, labels = folder.config, folder.labels()
    model = build_model(config.model, model_context(config, labels))
    try:
        model.load_state_dict(folder.weights())
    except RuntimeError as error:
        raise WeightsError(f"{folder.uri}: weights do not fit the model ({error}).") from None
    target = torch.device(device)
    return Run(folder, model.to(target).eval(), target)
