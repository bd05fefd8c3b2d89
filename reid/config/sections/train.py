"""The configuration of a training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from reid.config.overrides import DEFAULT_PROTOCOL
from reid.config.sections.field_types import Fraction, Modalities, ResizeFilter
from reid.config.typed import Section
from reid.modality import Modality


class AugmentConfig(Section):
    """Training-time transforms; photometry and erasing are drawn for each picture, never shared."""

    resize: ResizeFilter = Field("bicubic", description="resampling of training pictures to height x width")
    geometry: Literal["shared", "independent"] = Field(
        "shared", description="flip and crop: one draw a row, or one for each modality of it"
    )
    flip: float = Field(0.5, ge=0, le=1, description="chance of a horizontal flip")
    pad: int = Field(10, ge=0, description="padding in pixels before the random crop")
    pad_mode: Literal["zero", "symmetric"] = Field("zero", description="what is padded: black, or mirrored")
    erase: float = Field(0.5, ge=0, le=1, description="chance to fill one random box with noise")
    erase_area: tuple[Fraction, Fraction] = Field((0.02, 1 / 3), description="least and most, of the image")
    jitter: float = Field(0.0, ge=0, le=1, description="brightness and contrast jitter, fraction")
    random_channel: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance that an RGB picture becomes grey, of one of its channels; 3/11 in SAAI's code, "
        "3/4 in CAJ's",
    )


class BatchConfig(Section):
    """Streaming batches. P and K are global; a rank draws P / world identities."""

    sampler: Literal["pk", "tuple", "cross"] = Field(
        "pk",
        description="pk: P identities x K captures; tuple: P identities, one row each, an RGB anchor with "
        "every other modality of its identity; cross: P x K rows of one picture, half of them RGB, half "
        "NIR or TIR",
    )
    identities: int = Field(8, ge=1, description="P")
    instances: int = Field(8, ge=1, description="K; even for cross, not used by tuple")
    pairing: Literal["same_id", "same_sample"] = Field(
        "same_id",
        description="tuple: the anchor's companions are any captures of its identity, or its own capture's",
    )
    incomplete: Literal["skip", "error", "allow"] = Field(
        "skip",
        description="tuple: identities (same_sample: anchors) without every modality of data.modalities are "
        "left out and counted, refused, or taken with what they have",
    )
    reservoir_rows: int = Field(20_000, ge=1, description="bound of the pool of whole identities")
    prefetch_mib: float = Field(
        64, ge=0, description="row groups read ahead of need; 0 reads each when it is needed"
    )
    prefetch_threads: int = Field(4, ge=1, description="row groups read at once; more for distant storage")
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="chance to hide a modality of a row; one stays"
    )

    @field_validator("instances")
    @classmethod
    def _halves(cls, value: int, info: ValidationInfo) -> int:
        if value % 2 and info.data.get("sampler") == "cross":
            raise ValueError("sampler cross takes half of them in each spectrum: give an even number")
        return value


class GroupConfig(Section):
    """An optimiser group: the parameters whose name `match` is found in; the first such row wins."""

    match: str = Field(description="regular expression, e.g. ^image_tower\\.")
    lr: float = Field(gt=0, description="peak learning rate")
    bias_lr_factor: float | None = Field(
        None, gt=0, description="lr of the row's biases, relative to the row's lr; default: 1"
    )
    weight_decay: float | None = Field(None, ge=0, description="default: train.optim.weight_decay")


class OptimConfig(Section):
    """Optimiser and learning-rate schedule."""

    name: Literal["adam", "adamw"] = Field("adamw", description="adam: decay as L2 in the gradient")
    lr: float = Field(3.5e-4, gt=0, description="base learning rate: the peak outside `groups`")
    bias_lr_factor: float = Field(
        1.0, gt=0, description="lr of biases outside `groups`, relative to the base lr"
    )
    weight_decay: float = Field(1e-4, ge=0)
    eps: float = Field(1e-8, gt=0, description="of Adam's denominator; some text-to-image recipes have 1e-3")
    groups: tuple[GroupConfig, ...] = Field((), description="peaks by parameter name")
    warmup_epochs: float = Field(0.0, ge=0, description="linear warm-up, before any schedule")
    warmup_factor: float = Field(0.1, ge=0, le=1, description="lr at the start, see warmup_reference")
    warmup_reference: Literal["group", "base"] = Field(
        "group", description="start at factor x the group's lr, or x the base lr for all"
    )
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine", description="after the warm-up; cosine runs over all epochs, the warm-up's included"
    )
    final_factor: float = Field(
        1e-3, ge=0, le=1, description="cosine: lr at the end, relative to the base lr"
    )
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), validate_default=True, description="multistep: from each of these epochs on, lr x gamma"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="multistep: factor of each milestone")
    per: Literal["step", "epoch"] = Field(
        "step",
        description="step: the schedule moves with every step, from 0; epoch: the n-th epoch has the "
        "schedule's value at n throughout (n = 1 ..)",
    )
    noise: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="multiply the lr of every epoch but the last by 1 + a normal draw below this in size "
        "(the tri-modal papers' code: 0.67); the same draws in every run",
    )
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the whole gradient")

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


class ValConfig(Section):
    """Identities held out of training for model selection and calibration."""

    fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training identities, two at least; 0: keep the last",
    )
    every_epochs: int = Field(1, ge=1, description="also after the last epoch")
    protocol: str = Field(
        DEFAULT_PROTOCOL,
        description="auto or a registered name, as evaluate.protocol; held-out rows have no query or gallery "
        "roles",
    )
    gallery: Modalities = Field((Modality.RGB,), description="what any-to-any models are validated against")
    calibrate: bool = Field(True, description="after training, fit likelihood ratios to the held-out scores")
    calibrator: Literal["logistic", "isotonic"] = "logistic"
    calibrate_pairings: int = Field(
        32, ge=1, description="most pairings of subsets that are calibrated: single modalities, all, the rest"
    )


class TrainConfig(Section):
    """One training run."""

    epochs: int = Field(45, ge=0, description="0 writes a run of the initial weights")
    steps_per_epoch: int | None = Field(None, ge=1, description="default: once over the training groups")
    workers: int = Field(1, ge=0, description="Ray Train workers; 0 trains in this process without Ray")
    gpus_per_worker: int = Field(
        0, ge=0, description="GPUs of a worker (or of this process); 0 trains on the CPU"
    )
    cpus_per_worker: int = Field(1, ge=1)
    loader_threads: int = Field(1, ge=0, description="batches prepared ahead by this many threads")
    precision: Literal["fp32", "bf16"] = "fp32"
    global_statistics: bool = Field(True, description="losses and BN see the batch of all ranks")
    find_unused_parameters: bool = False
    optim: OptimConfig = OptimConfig()
    batch: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    val: ValConfig = ValConfig()
    init_from: str | None = Field(None, description="run folder whose weights initialise the whole model")
    checkpoint_every: int = Field(1, ge=1, description="epochs")
    max_failures: int = Field(1, ge=0, description="worker-group restarts from the last checkpoint")
