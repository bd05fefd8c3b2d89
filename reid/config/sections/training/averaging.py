"""The average of the weights over the steps, and when training stops before its last epoch."""

from __future__ import annotations

from pydantic import Field

from reid.config.typed import Section


class EmaConfig(Section):
    """An exponential moving average of the weights, which is validated and kept in place of the weights."""

    decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of the average that each step keeps, e.g. 0.999; null: no average",
    )


class StopEarlyConfig(Section):
    """Stop when validations do not get better."""

    patience: int = Field(ge=1, description="number of validations without a better one after which to stop")
    metric: str = Field(
        "val/mAP",
        pattern=r"^val/(mAP|R1)(/.+)?$",
        description="validation metric that must rise: val/mAP, val/R1, or that of a pairing, "
        "val/mAP/<pairing>",
    )
    min_delta: float = Field(0.0, ge=0, description="least rise that counts as better")
