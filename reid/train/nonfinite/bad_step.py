"""A step whose loss or gradient is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BadStep:
    """Where it is, its numbers, and the sample ids of this rank's batch, for each row and modality.

    >>> print(BadStep(1, 4, {"loss": math.nan, "grad_norm": math.nan, "loss/id": math.nan}, ()).what())
    Loss is nan at epoch 1, step 4: {'id': nan}.
    """

    epoch: int
    step: int
    values: Mapping[str, float]
    sample_ids: tuple[Any, ...]

    @property
    def losses(self) -> dict[str, float]:
        """By term."""
        return {k.removeprefix("loss/"): v for k, v in self.values.items() if k.startswith("loss/")}

    def what(self) -> str:
        """One sentence with the place and the losses by term."""
        finite = math.isfinite(self.values["loss"])
        name, value = ("Gradient norm", "grad_norm") if finite else ("Loss", "loss")
        return f"{name} is {self.values[value]} at epoch {self.epoch}, step {self.step}: {dict(self.losses)}."


def is_bad(values: Mapping[str, float]) -> bool:
    """Whether a step's loss or the norm of its gradient is not finite.

    >>> is_bad({"loss": 1.0, "grad_norm": math.inf}), is_bad({"loss": 1.0, "grad_norm": 2.0})
    (True, False)
    """
    return not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"]))
