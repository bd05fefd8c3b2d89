"""When the state of a training is saved."""

from __future__ import annotations

from pydantic import Field

from reid.config.results import SAME_RESULT
from reid.config.typed import Section


class CheckpointConfig(Section):
    """When the state of a training is saved, from which it goes on after an interruption."""

    every_epochs: int = Field(
        1, ge=1, description="number of epochs between checkpoints", json_schema_extra=SAME_RESULT
    )
    every_steps: int | None = Field(
        None,
        ge=1,
        description="optimiser steps between checkpoints, within epochs too; default: none there",
        json_schema_extra=SAME_RESULT,
    )
    every_minutes: float | None = Field(
        None,
        gt=0,
        description="minutes between checkpoints, within epochs too; default: none there",
        json_schema_extra=SAME_RESULT,
    )
    keep: int = Field(
        2,
        ge=1,
        description="how many of the newest checkpoints stay, besides the best one",
        json_schema_extra=SAME_RESULT,
    )
    best: str = Field(
        "val/mAP",
        description="validation metric, e.g. val/mAP, val/R1 or val/mAP/<pairing>: a run ends with the "
        "weights of the epoch in which it was highest",
    )
