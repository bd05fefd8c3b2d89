"""The configuration of all verbs, composed of the sections in `reid.config.sections`."""

from __future__ import annotations

from pydantic import Field

from reid.config.sections.build import BuildConfig
from reid.config.sections.data import DataConfig
from reid.config.sections.evaluate import EvaluateConfig
from reid.config.sections.field_types import Device, ModelSection
from reid.config.sections.search import AblateConfig, TuneConfig
from reid.config.sections.serve import IndexConfig, RayConfig, ServeConfig
from reid.config.sections.training.train import TrainConfig
from reid.config.typed import Section


class Config(Section):
    """The configuration of every verb."""

    name: str = Field(description="name of the experiment, used in run folders, e.g. baseline-synthetic")
    workdir: str = Field("runs", description="folder below which shard sets, runs and galleries are written")
    seed: int = Field(0, ge=0, description="random seed of training")
    run: str | None = Field(
        None,
        description="run folder to evaluate, index or serve, or a folder of runs (its newest); default: the "
        "run that this configuration trains",
    )
    device: Device = Field(
        "auto",
        description="where models compute: auto: on GPUs where there are any; cpu; cuda: on GPUs, which must "
        "be there. It decides for this process, and for Ray's workers whose number of GPUs is auto; a "
        "number that contradicts it is refused",
    )
    data: DataConfig = Field(description="the data set and what the model sees of it")
    build: BuildConfig = Field(BuildConfig(), description="how the data set becomes a shard set")
    model: ModelSection = Field(description="the model: its name and the fields of that system")
    train: TrainConfig = Field(TrainConfig(), description="one training run")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="what is measured, and how")
    tune: TuneConfig = Field(TuneConfig(), description="the search for hyper-parameters")
    ablate: AblateConfig = Field(
        AblateConfig(), description="the ablation: which changed fields are trained and compared"
    )
    index: IndexConfig = Field(IndexConfig(), description="how the gallery is built")
    serve: ServeConfig = Field(ServeConfig(), description="the HTTP endpoint")
    ray: RayConfig = Field(
        RayConfig(), description="how Ray is started, and how long verbs wait for resources"
    )
