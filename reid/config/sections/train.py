"""The configuration of a training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from reid.config.overrides import DEFAULT_PROTOCOL
from reid.config.sections.field_types import Fraction, Modalities, ResizeFilter
from reid.config.typed import Section
from reid.modality import Modality


class AugmentConfig(Section):
    """Random changes of training images. Photometry and erasing are drawn for each image."""

    resize: ResizeFilter = Field(
        "bicubic", description="interpolation filter for resizing training images to height x width"
    )
    geometry: Literal["shared", "independent"] = Field(
        "shared",
        description="flip and crop: the same for all modalities of a row (shared), or drawn for each "
        "(independent)",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    pad: int = Field(10, ge=0, description="padding in pixels before the random crop")
    pad_mode: Literal["zero", "symmetric"] = Field(
        "zero", description="padding before the random crop: black (zero) or mirrored (symmetric)"
    )
    erase: float = Field(
        0.5, ge=0, le=1, description="probability of filling one random box with noise (random erasing)"
    )
    erase_area: tuple[Fraction, Fraction] = Field(
        (0.02, 1 / 3), description="smallest and largest share of the image that an erased box covers"
    )
    jitter: float = Field(0.0, ge=0, le=1, description="largest relative change of brightness and contrast")
    random_channel: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that an RGB image is replaced by one of its channels in grey; "
        "SAAI's code has 3/11, CAJ's 3/4",
    )


class BatchConfig(Section):
    """Streaming batches. P and K are global; each rank draws P / world identities."""

    sampler: Literal["pk", "tuple", "cross"] = Field(
        "pk",
        description="pk: P identities x K captures; tuple: P identities with one row each, an RGB "
        "anchor with every other modality of its identity; cross: P x K rows of one "
        "image, half of them RGB, half NIR or TIR",
    )
    identities: int = Field(8, ge=1, description="identities in each global batch (P)")
    instances: int = Field(
        8, ge=1, description="captures of each identity in a batch (K); even for cross, not used by tuple"
    )
    pairing: Literal["same_id", "same_sample"] = Field(
        "same_id",
        description="sampler tuple: the anchor's other modalities come from any captures of its "
        "identity (same_id), or from its own capture (same_sample)",
    )
    incomplete: Literal["skip", "error", "allow"] = Field(
        "skip",
        description="sampler tuple: identities (same_sample: anchors) that lack a modality are left "
        "out and counted (skip), refused (error), or used with what they have (allow)",
    )
    reservoir_rows: int = Field(
        20_000,
        ge=1,
        description="largest number of rows in the pool of whole identities that batches are drawn from",
    )
    prefetch_mib: float = Field(
        64, ge=0, description="MiB of row groups read before they are needed; 0 reads each when it is needed"
    )
    prefetch_threads: int = Field(
        4, ge=1, description="number of row groups read at the same time; use more for distant storage"
    )
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of hiding a modality of a row; at least one remains"
    )

    @field_validator("instances")
    @classmethod
    def _halves(cls, value: int, info: ValidationInfo) -> int:
        if value % 2 and info.data.get("sampler") == "cross":
            raise ValueError("sampler cross takes half of them in each spectrum: give an even number")
        return value


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
    clip_norm: float | None = Field(
        None, gt=0, description="largest norm of the whole gradient; null: no clipping"
    )

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
    """Validation on identities held out of training, for model selection and calibration."""

    fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training identities held out for validation, at least two; 0: "
        "none, and the last epoch is kept",
    )
    every_epochs: int = Field(
        1, ge=1, description="epochs between two validations; the last epoch is always validated"
    )
    protocol: str = Field(
        DEFAULT_PROTOCOL,
        description="protocol of the validation: auto or a registered name; held-out rows have no "
        "query or gallery roles",
    )
    gallery: Modalities = Field(
        (Modality.RGB,), description="gallery modalities in the validation of any-to-any models"
    )
    calibrate: bool = Field(
        True, description="fit likelihood ratios to the scores of the held-out identities after training"
    )
    calibrator: Literal["logistic", "isotonic"] = Field(
        "logistic", description="how likelihood ratios are fitted to scores"
    )
    calibrate_pairings: int = Field(
        32,
        ge=1,
        description="largest number of calibrated pairings: single modalities first, then all "
        "together, then the rest",
    )


class TrainConfig(Section):
    """One training run."""

    epochs: int = Field(45, ge=0, description="number of epochs; 0 writes a run with the initial weights")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps in each epoch; default: one pass over the training groups"
    )
    workers: int = Field(
        1, ge=0, description="number of Ray Train workers; 0 trains in this process without Ray"
    )
    gpus_per_worker: int = Field(
        0, ge=0, description="GPUs of each worker (or of this process); 0 trains on the CPU"
    )
    cpus_per_worker: int = Field(1, ge=1, description="logical CPUs of each worker")
    loader_threads: int = Field(
        1, ge=0, description="threads that prepare batches ahead of the training step"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of the forward pass: float32, or bfloat16 by autocast"
    )
    global_statistics: bool = Field(
        True, description="compute losses and batch norms over the batches of all ranks"
    )
    find_unused_parameters: bool = Field(
        False, description="DistributedDataParallel's option of the same name"
    )
    optim: OptimConfig = Field(OptimConfig(), description="optimiser and learning-rate schedule")
    batch: BatchConfig = Field(BatchConfig(), description="how batches are sampled and read")
    augment: AugmentConfig = Field(AugmentConfig(), description="random changes of training images")
    val: ValConfig = Field(ValConfig(), description="validation on held-out training identities")
    init_from: str | None = Field(
        None,
        description="run folder, folder of runs (its newest), or file of weights, from which the whole model "
        "starts; layers of other sizes keep their random weights",
    )
    checkpoint_every: int = Field(1, ge=1, description="number of epochs between checkpoints")
    max_failures: int = Field(
        1, ge=0, description="number of restarts of the workers from the last checkpoint"
    )
