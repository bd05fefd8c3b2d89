"""Typed, strict configuration: one schema for all verbs, YAML presets, dotted overrides.

`load()` is the only way in. A section whose fields depend on a name (the model, the reader) is a `Plugin`:
its `name` picks a module of a package and that module's `Config` class gives the fields, so that adding a
model or a reader is adding one file. The other sections are in `reid.config.sections`.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from reid.config import strict_yaml
from reid.errors import ConfigError, UsageError
from reid.config.typed import Plugin, Section, check, did_you_mean, fingerprint, plugin_names
from reid.config.sections.build import BuildConfig, GenerateConfig
from reid.config.sections.data import DataConfig
from reid.config.sections.evaluate import EvaluateConfig, RerankConfig
from reid.config.sections.search import AblateConfig, TuneConfig
from reid.config.sections.serve import IndexConfig, RayConfig, ServeConfig
from reid.config.sections.train import AugmentConfig, BatchConfig, GroupConfig, OptimConfig, TrainConfig, ValConfig
from reid.config.sections.field_types import (
    AUTO_PROTOCOL,
    EXTENDED_PROTOCOL,
    Modalities,
    ModelSection,
    ReaderSection,
    ResizeFilter,
)

__all__ = [
    "AUTO_PROTOCOL",
    "AblateConfig",
    "AugmentConfig",
    "BatchConfig",
    "BuildConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "GroupConfig",
    "IndexConfig",
    "Modalities",
    "OptimConfig",
    "Plugin",
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

PRESETS = "reid.config.presets"


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


def presets() -> list[str]:
    """Names of the shipped presets, e.g. "baseline/synthetic"."""
    root = importlib.resources.files(PRESETS)
    return sorted(
        f"{system.name}/{Path(entry.name).stem}"
        for system in root.iterdir()
        if system.is_dir()
        for entry in system.iterdir()
        if entry.name.endswith(".yaml")
    )


def load(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Resolve a preset name, a YAML path or a dict, with `a.b=value` overrides, into a Config.

    A YAML may say `extends: <preset>`; its own keys win. Raises ConfigError naming the field, with the
    nearest known name, and UsageError for an unknown preset.
    """
    tree = dict(source) if isinstance(source, dict) else _read_tree(str(source))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"Override {override!r} is not of the form section.field=value.")
        try:
            value = strict_yaml.parse(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"Override {key}: {text!r} is not valid YAML ({error}).") from None
        _assign(tree, key.split("."), value, key)
    return _config(tree)


def _read_tree(source: str, trail: tuple[str, ...] = ()) -> dict[str, Any]:
    if source.endswith((".yaml", ".yml")):
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"{source}: no such config file.")
        text, where = path.read_text(encoding="utf-8"), source
    else:
        if source not in presets():
            raise UsageError(f"Unknown preset {source!r}.{did_you_mean(source, presets())}")
        system, name = source.split("/")
        text = (importlib.resources.files(PRESETS) / system / f"{name}.yaml").read_text(encoding="utf-8")
        where = f"preset {source}"
    try:
        tree = strict_yaml.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error}).") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected a mapping of sections.")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    base = str(base)
    if base.endswith((".yaml", ".yml")):
        base = str(Path(source).parent / base)
    if base in trail:
        raise ConfigError(f"{where}: extends goes in a circle ({' -> '.join([*trail, base])}).")
    return merge(_read_tree(base, (*trail, base)), tree)


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of mappings; `top` wins. A plugin section with another name replaces the whole section."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if (
            not isinstance(value, dict)
            or not isinstance(old, dict)
            or (key in {"model", "reader"} and value.get("name", old.get("name")) != old.get("name"))
            or (key == "protocol" and value.get("extends", old.get("extends")) != old.get("extends"))
        ):
            merged[key] = value
        else:
            merged[key] = merge(old, value)
    return merged


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy of `config` with dotted fields replaced, validated anew."""
    tree = config.model_dump(mode="json")
    for key, value in values.items():
        _assign(tree, key.split("."), value, key)
    return _config(tree)


def _assign(tree: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        child = tree.get(part)
        if part == "protocol" and not isinstance(child, dict):
            child = {"extends": EXTENDED_PROTOCOL if child in (None, AUTO_PROTOCOL) else child}
        elif child is None:
            child = {}
        elif isinstance(child, str) and part in {"model", "reader"}:
            child = {"name": child}
        elif not isinstance(child, dict):
            raise ConfigError(f"{key}: {part!r} is a value, not a section.")
        child = dict(child)
        tree[part] = child
        tree = child
    tree[path[-1]] = value


def _config(tree: dict[str, Any]) -> Config:
    config: Config = check(Config, tree)
    return config
