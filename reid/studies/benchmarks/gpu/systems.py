"""The six systems at the sizes of their papers, without anything random, and a batch for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reid.config import Config, load, override
from reid.data.batches.batch import Batch
from reid.modality import ORDER, canonical
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.runs.describe import PUBLISHED, dummy_batch
from reid.studies.benchmarks.model import rendered_batch

PRESETS = {
    "baseline": "rgbnt201",
    "mfrnet": "rgbnt201",
    "signal": "rgbnt201",
    "stmi": "rgbnt201",
    "flexireid": "cuhk-pedes",
    "mixer": "sysu-mm01",
}
"""The data set of each system's preset."""
SMALL = "synthetic"
"""The data set of presets that a CPU trains in minutes."""
_RANDOM = {"dropout", "noise", "caption_dropout", "flip"}
"""Fields of a model section that make two steps on the same batch differ."""


@dataclass(frozen=True)
class SystemCase:
    """A system, the configuration it is built from, and the number of its pictures in a row."""

    name: str
    config: Config

    @classmethod
    def of(cls, name: str, data: str | None = None) -> SystemCase:
        """The case of a system; `data` names another preset than the paper's.

        >>> SystemCase.of("stmi").config.name
        'stmi-rgbnt201'
        """
        config = override(load(f"{name}/{data or PRESETS[name]}"), {"model.weights": "random"})
        return cls(name, override(config, {"model": still(config.model.model_dump(mode="json"))}))

    def model(self) -> ReIDModel:
        """A model with the same weights at every call, on the CPU."""
        torch.manual_seed(0)
        data = self.config.data
        classes, cameras = PUBLISHED.get(data.name, (100, 4))
        context = ModelContext(classes, max(1, cameras), data.height, data.width, data.modalities)
        return build_model(self.config.model, context)

    def batch(self, model: ReIDModel, rows: int) -> Batch:
        """Rendered pictures as the preset's sampler gives them: whole rows, or one picture a row."""
        data = self.config.data
        batch = rendered_batch(self.config, rows)
        blank = dummy_batch(data.modalities, rows, data.height, data.width, model.auxiliary)
        batch = replace(
            batch,
            mask=blank.mask,
            mask_present=blank.mask_present,
            caption=blank.caption,
            caption_present=blank.caption_present,
        )
        if self.config.train.batch.sampler != "cross":
            return batch
        return one_picture_a_row(batch)


def still(section: Mapping[str, Any]) -> dict[str, Any]:
    """A model section in which nothing is drawn at random during a step.

    >>> still({"name": "mfrnet", "ffm": {"dropout": 0.1, "router": {"noise": 1.0}}})
    {'name': 'mfrnet', 'ffm': {'dropout': 0.0, 'router': {'noise': 0.0}}}
    """
    found: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, Mapping):
            found[name] = still(value)
        else:
            found[name] = 0.0 if name in _RANDOM and isinstance(value, float) else value
    return found


def one_picture_a_row(batch: Batch) -> Batch:
    """The same rows with one modality each, in turns within an identity's two rows."""
    modalities = canonical(batch.images)
    rows = torch.arange(len(batch))
    chosen = rows % len(modalities)
    index = {m: rows[chosen == i] for i, m in enumerate(modalities)}
    images: dict[Any, Tensor] = {m: batch.images[m][index[m]] for m in modalities}
    present = torch.zeros_like(batch.present)
    for m in modalities:
        present[index[m], ORDER.index(m)] = True
    return replace(batch, present=present, images=images, index=index, tokens=None)


def pictures(batch: Batch) -> int:
    """Number of pictures in a batch."""
    return sum(len(images) for images in batch.images.values())
