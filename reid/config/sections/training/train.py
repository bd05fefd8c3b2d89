"""The configuration of a training run."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from reid.config.results import SAME_RESULT
from reid.config.sections.field_types import Gpus
from reid.config.sections.training.augment import AugmentConfig
from reid.config.sections.training.averaging import EmaConfig, StopEarlyConfig
from reid.config.sections.training.batch import BatchConfig
from reid.config.sections.training.checkpoint import CheckpointConfig
from reid.config.sections.training.classifier import ClassifierConfig
from reid.config.sections.training.compute import ComputeConfig
from reid.config.sections.training.loader import LoaderConfig
from reid.config.sections.training.nonfinite import NonFiniteConfig
from reid.config.sections.training.optim import OptimConfig
from reid.config.sections.training.tracking import TrackingConfig
from reid.config.sections.training.validation import ValConfig
from reid.config.sections.training.workers import Workers
from reid.config.typed import Section


class TrainConfig(Section):
    """One training run."""

    epochs: int = Field(45, ge=0, description="number of epochs; 0 writes a run with the initial weights")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps in each epoch; default: one pass over the training groups"
    )
    workers: Workers = Field(
        1,
        description="number of Ray Train workers, or a range, e.g. {min: 2, max: 8}, within which training "
        "starts again with more or fewer as nodes come and go; 0 trains in this process without Ray",
        json_schema_extra=SAME_RESULT,
    )
    gpus_per_worker: Gpus = Field(
        "auto",
        description="GPUs of each worker (or of this process), whole or a part, e.g. 0.5; auto: one where "
        "there are any; 0 trains on the CPU",
        json_schema_extra=SAME_RESULT,
    )
    cpus_per_worker: int = Field(
        1, ge=1, description="logical CPUs of each worker", json_schema_extra=SAME_RESULT
    )
    loader: LoaderConfig = Field(
        LoaderConfig(),
        description="how batches are made ahead of the training step",
        json_schema_extra=SAME_RESULT,
    )
    compute: ComputeConfig = Field(ComputeConfig(), description="how the training step is computed")
    global_statistics: bool = Field(
        True, description="compute losses and batch norms over the batches of all ranks"
    )
    find_unused_parameters: bool = Field(
        False, description="DistributedDataParallel's option of the same name", json_schema_extra=SAME_RESULT
    )
    ema: EmaConfig = Field(EmaConfig(), description="moving average of the weights")
    stop_early: StopEarlyConfig | None = Field(
        None, description="stop when validations do not get better; null: all epochs"
    )
    optim: OptimConfig = Field(OptimConfig(), description="optimiser and learning-rate schedule")
    batch: BatchConfig = Field(BatchConfig(), description="how batches are sampled and read")
    augment: AugmentConfig = Field(AugmentConfig(), description="random changes of training images")
    classifier: ClassifierConfig = Field(
        ClassifierConfig(), validate_default=True, description="the classifiers of the identity heads"
    )
    val: ValConfig = Field(ValConfig(), description="validation on held-out training identities")
    tracking: TrackingConfig = Field(
        TrackingConfig(),
        description="what is written while it runs: metrics table, trackers",
        json_schema_extra=SAME_RESULT,
    )
    init_from: str | None = Field(
        None,
        description="run folder, folder of runs (its newest), or file of weights, from which the whole model "
        "starts; layers of other sizes keep their random weights",
    )
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="when the state is saved")
    nonfinite: NonFiniteConfig = Field(
        NonFiniteConfig(), description="what follows a loss or gradient that is not finite"
    )
    log_every: int = Field(
        10,
        ge=1,
        description="steps between two reports of losses, learning rates and throughput",
        json_schema_extra=SAME_RESULT,
    )
    max_failures: int = Field(
        1,
        ge=0,
        description="number of restarts from the last checkpoint after errors of the workers; lost nodes and "
        "preemption do not count",
        json_schema_extra=SAME_RESULT,
    )
    max_lost_nodes: int | None = Field(
        None,
        ge=0,
        description="number of restarts from the last checkpoint after lost nodes or preemption; null: any",
        json_schema_extra=SAME_RESULT,
    )

    @field_validator("classifier")
    @classmethod
    def _of_all_rows(cls, value: ClassifierConfig, info: ValidationInfo) -> ClassifierConfig:
        if value.sharded is True and info.data.get("global_statistics") is False:
            raise ValueError("sharded: true compares the rows of all ranks: it needs global_statistics: true")
        return value

    def for_ranks(self, world: int) -> TrainConfig:
        """What so many ranks train with: P as a number, and learning rates for it.

        >>> TrainConfig(batch={"identities": {"per_rank": 8}}).for_ranks(64).batch.identities
        512
        """
        identities = self.batch.global_identities(world)
        batch = self.batch.model_copy(update={"identities": identities})
        return self.model_copy(update={"batch": batch, "optim": self.optim.scaled(identities)})
