"""Where a training's metrics go besides the run folder's table and TensorBoard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.typed import Section


class MLflowConfig(Section):
    """A run of MLflow."""

    uri: str | None = Field(
        None,
        description="tracking server (https://…) or a folder (file:///…); default: the environment's "
        "MLFLOW_TRACKING_URI, else the folder mlflow in workdir",
    )
    experiment: str = Field("anyreid", min_length=1, description="name of the experiment")


class WandbConfig(Section):
    """A run of Weights & Biases."""

    project: str = Field("anyreid", min_length=1, description="name of the project")
    entity: str | None = Field(None, description="user or team; default: the account's own")
    mode: Literal["online", "offline"] = Field(
        "online", description="send while training, or keep files that `wandb sync` sends later"
    )
    tags: list[str] = Field([], description="words to find the run by")


class TrackingConfig(Section):
    """What is written while a run trains; none of it is part of the run's name."""

    every_s: float = Field(
        30.0, ge=0, description="longest pause in seconds between two parts of the metrics table"
    )
    mlflow: MLflowConfig | None = Field(None, description="log to MLflow, too; {} takes its defaults")
    wandb: WandbConfig | None = Field(None, description="log to Weights & Biases, too; {} takes its defaults")
    peak_tflops: float | None = Field(
        None,
        gt=0,
        description="10^12 operations per second that one device can do, for the MFU; default: known by the "
        "name of the GPU, else no MFU",
    )
