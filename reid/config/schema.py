"""The configuration of all verbs: its sections, put together. The sections are in `reid.config.sections`."""

from __future__ import annotations

from pydantic import Field

from reid.config.sections.build import BuildConfig
from reid.config.sections.data import DataConfig
from reid.config.sections.evaluate import EvaluateConfig
from reid.config.sections.field_types import ModelSection
from reid.config.sections.search import AblateConfig, TuneConfig
from reid.config.sections.serve import IndexConfig, RayConfig, ServeConfig
from reid.config.sections.train import TrainConfig
from reid.config.typed import Section


class Config(Section):
    """Everything a verb can need."""

    name: str = Field(description="names the runs, e.g. baseline-synthetic")
    workdir: str = "runs"
    seed: int = Field(0, ge=0)
    run: str | None = Field(
        None, description="run folder to evaluate/index/serve; default: this config's own"
    )
    data: DataConfig
    build: BuildConfig = BuildConfig()
    model: ModelSection
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tune: TuneConfig = TuneConfig()
    ablate: AblateConfig = AblateConfig()
    index: IndexConfig = IndexConfig()
    serve: ServeConfig = ServeConfig()
    ray: RayConfig = RayConfig()
