"""Loading: a preset, a YAML file or a mapping, with dotted overrides -> a validated configuration.

`load()` is the only way in. A section whose fields depend on a name (the model, the reader) is a `Plugin`:
its `name` picks a module or package and that one's `Config` class gives the fields, so that adding a model or
a reader is adding one file or folder.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from reid.config import strict_yaml
from reid.config.overrides import assign, merge
from reid.config.schema import Config
from reid.config.typed import check, did_you_mean
from reid.errors import ConfigError, UsageError

PRESETS = "reid.config.presets"


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
        assign(tree, key.split("."), value, key)
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


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy of `config` with dotted fields replaced, validated anew."""
    tree = config.model_dump(mode="json")
    for key, value in values.items():
        assign(tree, key.split("."), value, key)
    return _config(tree)


def _config(tree: dict[str, Any]) -> Config:
    config: Config = check(Config, tree)
    return config
