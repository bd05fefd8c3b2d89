"""Typed, strict configuration: one schema for all verbs, YAML presets, dotted overrides."""

from reid.config.fingerprints import fingerprint
from reid.config.loading import load, override, presets
from reid.config.overrides import AUTO_PROTOCOL, merge
from reid.config.schema import Config
from reid.config.sections.build import BuildConfig, GenerateConfig
from reid.config.sections.data import DataConfig
from reid.config.sections.evaluate import EvaluateConfig, RerankConfig
from reid.config.sections.field_types import (
    DROP,
    FixedRange,
    Infrared,
    Modalities,
    RangeRule,
    ReaderSection,
    ResizeFilter,
)
from reid.config.sections.search import AblateConfig, TuneConfig
from reid.config.sections.serve import IndexConfig, RayConfig, ServeConfig
from reid.config.sections.training.augment import AugmentConfig
from reid.config.sections.training.batch import BatchConfig
from reid.config.sections.training.optim import GroupConfig, OptimConfig
from reid.config.sections.training.train import TrainConfig
from reid.config.sections.training.validation import ValConfig
from reid.config.typed import Plugin, Section, plugin_names

__all__ = [
    "AUTO_PROTOCOL",
    "DROP",
    "AblateConfig",
    "AugmentConfig",
    "BatchConfig",
    "BuildConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "FixedRange",
    "GenerateConfig",
    "GroupConfig",
    "IndexConfig",
    "Infrared",
    "Modalities",
    "OptimConfig",
    "Plugin",
    "RangeRule",
    "RayConfig",
    "ReaderSection",
    "RerankConfig",
    "ResizeFilter",
    "Section",
    "ServeConfig",
    "TrainConfig",
    "TuneConfig",
    "ValConfig",
    "fingerprint",
    "load",
    "merge",
    "override",
    "plugin_names",
    "presets",
]
