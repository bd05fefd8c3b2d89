"""The configuration of what is read, and what a model sees of it."""

from __future__ import annotations

from pydantic import Field

from reid.config.sections.field_types import Modalities, Positive, ReaderSection, ResizeFilter
from reid.config.typed import Section


class DataConfig(Section):
    """What is read, and what a model sees of it."""

    name: str = Field(description="name of the data set; part of paths and of every sample")
    reader: ReaderSection
    shards: str | None = Field(None, description="shard set; default: a content-addressed folder in workdir")
    modalities: Modalities = Field(description="modalities that training and evaluation use")
    height: int = Field(256, ge=8)
    width: int = Field(128, ge=8)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    resize: ResizeFilter = Field(
        "bicubic", description="resampling to height x width outside training; training: train.augment.resize"
    )
    cache_mib: int = Field(1024, ge=0, description="decoded-image cache a process may hold")
