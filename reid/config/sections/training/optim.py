"""The optimiser, its groups, and the learning-rate schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from reid.config.results import SAME_RESULT
from reid.config.typed import Section


class GroupConfig(Section):
    """An optimiser group: the parameters whose names match; the first matching group applies."""

    match: str = Field(
        description="regular expression that is searched for in parameter names, e.g. ^image_tower\\."
    )
    lr: float = Field(gt=0, description="peak learning rate of the group")
    bias_lr_factor: float | None = Field(
        None, gt=0, description="learning rate of the group's biases relative to the group's; default: 1"
    )
    weight_decay: float | None = Field(
        None, ge=0, description="weight decay of the group; default: train.optim.weight_decay"
    )


class OptimConfig(Section):
    """Optimiser and learning-rate schedule."""

    name: Literal["adam", "adamw"] = Field(
        "adamw", description="optimiser: adam (L2 penalty in the gradient) or adamw (decoupled weight decay)"
    )
    lr: float = Field(
        3.5e-4, gt=0, description="base learning rate: the peak for all parameters outside `groups`"
    )
    bias_lr_factor: float = Field(
        1.0, gt=0, description="learning rate of biases outside `groups`, relative to the base rate"
    )
    weight_decay: float = Field(
        1e-4, ge=0, description="weight decay of all parameters whose group sets none"
    )
    eps: float = Field(
        1e-8, gt=0, description="epsilon in Adam's denominator; some text-to-image recipes use 1e-3"
    )
    groups: tuple[GroupConfig, ...] = Field(
        (), description="learning rates by parameter name; the first matching group applies"
    )
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear warm-up, before any schedule")
    warmup_factor: float = Field(
        0.1, ge=0, le=1, description="learning rate at the start of the warm-up, relative to warmup_reference"
    )
    warmup_reference: Literal["group", "base"] = Field(
        "group",
        description="rate that warmup_factor multiplies: each group's own rate, or the base rate for "
        "all groups",
    )
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine",
        description="learning rate after the warm-up; cosine runs over all epochs, including the warm-up's",
    )
    final_factor: float = Field(
        1e-3, ge=0, le=1, description="schedule cosine: final learning rate relative to the base rate"
    )
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        validate_default=True,
        description="schedule multistep: epochs from which the rate is multiplied by gamma once more",
    )
    gamma: float = Field(0.1, gt=0, le=1, description="schedule multistep: factor applied at each milestone")
    per: Literal["step", "epoch"] = Field(
        "step",
        description="when the schedule changes: step: at every step, from 0; epoch: once an epoch, "
        "with the schedule's value at n in the n-th epoch (n = 1, 2, ...)",
    )
    noise: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="largest relative noise on each epoch's learning rate but the last: a normal "
        "draw below this size (0.67 in the tri-modal papers' code), the same in every "
        "run",
    )
    fused: bool | Literal["auto"] = Field(
        "auto",
        description="one kernel for a whole optimiser step; auto: on CUDA",
        json_schema_extra=SAME_RESULT,
    )
    clip_norm: float | None = Field(
        None, gt=0, description="largest norm of the whole gradient; null: no clipping"
    )

    scale_lr: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="multiply all learning rates by P / scale_lr_from (linear) or its square root (sqrt), "
        "where P is train.batch.identities of all ranks",
    )
    scale_lr_from: int | None = Field(
        None, ge=1, validate_default=True, description="P that the learning rates are stated for"
    )

    def scaled(self, identities: int) -> OptimConfig:
        """These settings for batches of so many identities: every rate multiplied, and no rule left.

        >>> OptimConfig(lr=1e-4, scale_lr="sqrt", scale_lr_from=8).scaled(32).lr
        0.0002
        """
        if self.scale_lr == "none" or self.scale_lr_from is None:
            return self
        ratio = identities / self.scale_lr_from
        factor = ratio if self.scale_lr == "linear" else ratio**0.5
        groups = tuple(group.model_copy(update={"lr": group.lr * factor}) for group in self.groups)
        own = {"lr": self.lr * factor, "groups": groups, "scale_lr": "none", "scale_lr_from": None}
        return self.model_copy(update=own)

    @field_validator("scale_lr_from")
    @classmethod
    def _stated(cls, value: int | None, info: ValidationInfo) -> int | None:
        rule = info.data.get("scale_lr", "none")
        if (value is None) != (rule == "none"):
            raise ValueError(
                "without scale_lr it means nothing; choose linear or sqrt"
                if value
                else f"scale_lr: {rule} needs the P that the learning rates are stated for"
            )
        return value

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("give them in ascending order, none twice")
        if not value and info.data.get("schedule") == "multistep":
            raise ValueError("schedule multistep needs milestones, e.g. [20, 40]")
        return value

    @field_validator("noise")
    @classmethod
    def _drawable(cls, value: float) -> float:
        if 0 < value < 0.001:  # draws are repeated until one is below it
            raise ValueError("0 is none; otherwise at least 0.001")
        return value
