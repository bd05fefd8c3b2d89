"""The configuration of searches over configurations: campaigns and ladders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from reid.config.typed import Section, as_validator
from reid.modality import parse_subset


class TuneConfig(Section):
    """A search. `space` maps a dotted config field to {choice|uniform|loguniform|randint: [...]}."""

    space: dict[str, dict[Literal["choice", "uniform", "loguniform", "randint"], list[Any]]] = Field({})
    trials: int = Field(8, ge=1)
    concurrent: int | None = Field(None, ge=1)
    metric: str = "val/mAP"
    mode: Literal["max", "min"] = "max"
    epochs: int | None = Field(None, ge=1, description="epochs of a trial; default train.epochs")
    steps_per_epoch: int | None = Field(None, ge=1, description="of a trial; default: training's")
    grace_epochs: int = Field(1, ge=1)
    reduction: int = Field(3, ge=2)


class AblateConfig(Section):
    """A ladder: rows of changed fields, each trained and evaluated with several training seeds."""

    ladder: str | None = Field(
        None, description="shipped ladder, or a YAML file of rows; default: model.name"
    )
    rows: tuple[str, ...] | None = Field(
        None, min_length=1, description="rows by name, compared with the first of them; default: all"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, description="values of `seed`; the data stay the same"
    )
    metrics: tuple[Literal["mAP", "R1", "R5", "R10", "mINP"], ...] = Field(
        ("mAP", "R1"), min_length=1, description="shown in the table, differences for the first"
    )
    subset: str | None = Field(
        None, description="which evaluated pairing is shown; default: the one with most modalities"
    )

    @field_validator("rows", "metrics", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("rows", "seeds", "metrics")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("give none twice")
        return value

    @field_validator("subset")
    @classmethod
    def _spelled(cls, value: str | None) -> str | None:
        for kind in [] if value is None else value.replace("->", "|").split("|"):
            as_validator(parse_subset)(kind)
        return value
