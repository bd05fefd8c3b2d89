"""The configuration of the search for hyper-parameters and of ablations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from reid.config.results import SAME_RESULT
from reid.config.sections.field_types import check_pairing
from reid.config.typed import Section


class TuneConfig(Section):
    """A search for hyper-parameters."""

    space: dict[str, dict[Literal["choice", "uniform", "loguniform", "randint"], list[Any]]] = Field(
        {}, description="search space: dotted field -> {choice, uniform, loguniform or randint: [...]}"
    )
    trials: int = Field(8, ge=1, description="number of configurations that are tried")
    concurrent: int | None = Field(
        None,
        ge=1,
        description="largest number of trials that run at once; default: as many as fit",
        json_schema_extra=SAME_RESULT,
    )
    metric: str = Field("val/mAP", description="validation metric that trials are compared by")
    mode: Literal["max", "min"] = Field("max", description="whether the metric is maximised or minimised")
    epochs: int | None = Field(None, ge=1, description="epochs of each trial; default: train.epochs")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps in each epoch of a trial; default: train.steps_per_epoch"
    )
    grace_epochs: int = Field(
        1, ge=1, description="epochs that every trial runs before it can be stopped early"
    )
    reduction: int = Field(
        3, ge=2, description="successive halving: one of this many trials goes on to the next stage"
    )


class AblateConfig(Section):
    """An ablation: rows of changed fields, each trained and evaluated with several seeds."""

    ladder: str | None = Field(
        None, description="name of a shipped ladder, or a YAML file of rows; default: model.name"
    )
    rows: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="names of the rows to run, compared with the first of them; default: all",
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, description="training seeds; the data stay the same"
    )
    metrics: tuple[Literal["mAP", "R1", "R5", "R10", "mINP"], ...] = Field(
        ("mAP", "R1"), min_length=1, description="metrics in the table; differences are shown for the first"
    )
    subset: str | None = Field(
        None, description="evaluated pairing that the table shows; default: the one with most modalities"
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
        if value is not None:
            check_pairing(value)
        return value
