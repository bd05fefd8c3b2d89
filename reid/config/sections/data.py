"""The configuration of the data set, and of what a model sees of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from reid.config.results import SAME_RESULT
from reid.config.sections.field_types import (
    DROP,
    FourthBand,
    Modalities,
    Positive,
    RangeByModality,
    ReaderSection,
    ResizeFilter,
)
from reid.config.typed import Section


class DataConfig(Section):
    """The data set, and what a model sees of it."""

    name: str = Field(description="name of the data set; part of paths and of every sample")
    reader: ReaderSection = Field(
        description="the reader of the raw data: its name and its own fields", json_schema_extra=SAME_RESULT
    )
    shards: str | None = Field(
        None,
        description="shard set to read, or a folder of sets (its newest); default: the one that this "
        "configuration builds in workdir",
        json_schema_extra=SAME_RESULT,
    )
    modalities: Modalities = Field(description="modalities that training and evaluation use")
    height: int = Field(256, ge=8, description="height in pixels of the model's input images")
    width: int = Field(128, ge=8, description="width in pixels of the model's input images")
    mean: tuple[float, float, float] = Field(
        (0.5, 0.5, 0.5), description="mean of each colour channel that is subtracted, on a scale of 0 to 1"
    )
    std: tuple[Positive, Positive, Positive] = Field(
        (0.5, 0.5, 0.5),
        description="standard deviation by which each colour channel is divided, on a scale of 0 to 1",
    )
    resize: ResizeFilter = Field(
        "bicubic",
        description="interpolation filter for resizing outside training (training: train.augment.resize)",
    )
    range: RangeByModality = Field(
        {},
        description="by modality, how pictures of one channel with more than 8 bits (thermal) become grey "
        "levels: percentile (default; a picture's own range without its few extremes), min_max (with them), "
        "or {fixed: [low, high]}, the same for all pictures, which keeps temperatures",
    )
    fourth_band: FourthBand = Field(
        DROP,
        description="what becomes of the fourth band of a TIFF of colours: drop (a note tells), or "
        "a modality, such as nir: it is the capture's picture of that, unless it has a file of its own",
    )
    cache_mib: int = Field(
        1024,
        ge=0,
        description="largest cache of decoded images in each process, in MiB",
        json_schema_extra=SAME_RESULT,
    )

    def sensors(self) -> dict[str, Any]:
        """The fields that the stored pixels of a raw file depend on, without those at their defaults."""
        return self.model_dump(mode="json", include={"range", "fourth_band"}, exclude_defaults=True)
