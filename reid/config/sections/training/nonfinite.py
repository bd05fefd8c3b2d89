"""What follows a step whose loss or gradient is not finite."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.results import SAME_RESULT
from reid.config.typed import Section


class NonFiniteConfig(Section):
    """What follows a step whose loss or gradient is not finite; such a step never changes the weights."""

    policy: Literal["stop", "skip", "rewind"] = Field(
        "stop",
        description="stop: an error; skip: the next step; rewind: back to the last checkpoint, with a lower "
        "learning rate",
        json_schema_extra=SAME_RESULT,
    )
    at_most: int = Field(
        10,
        ge=1,
        description="policies skip and rewind: number of such steps after which training stops",
        json_schema_extra=SAME_RESULT,
    )
    rewind_factor: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="policy rewind: factor on all learning rates at each return",
        json_schema_extra=SAME_RESULT,
    )
