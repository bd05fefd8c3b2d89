"""How many workers train: a number, or a range within which training follows the nodes that there are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from reid.config.typed import Section


class WorkerRange(Section):
    """Elastic training: it begins with what fits, and starts again from its checkpoint with more or fewer."""

    min: int = Field(ge=1, description="fewest workers that train")
    max: int = Field(ge=1, description="most workers that train")

    @field_validator("max")
    @classmethod
    def _ordered(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", 1):
            raise ValueError(f"less than min, which is {info.data['min']}")
        return value


def _number_or_range(value: Any) -> Any:
    if isinstance(value, WorkerRange):
        return value
    if isinstance(value, dict) and set(value) == {"min", "max"}:
        return WorkerRange.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a number of at least 0, or {{min: 1, max: 4}}, not {value!r}")
    return value


Workers = Annotated[int | WorkerRange, BeforeValidator(_number_or_range)]


def worker_counts(workers: int | WorkerRange, identities: object) -> list[int]:
    """The numbers of workers that may train, ascending; of a range those that can share a batch.

    `identities` is `train.batch.identities`: a number for all workers, which each needs an equal part of, or
    a rule that fits any number of them. Without a common number the list is empty.

    >>> worker_counts(WorkerRange(min=1, max=5), identities=8), worker_counts(3, identities=8)
    ([1, 2, 4], [3])
    """
    if isinstance(workers, int):
        return [workers]
    numbers = range(workers.min, workers.max + 1)
    return [n for n in numbers if not isinstance(identities, int) or identities % n == 0]
