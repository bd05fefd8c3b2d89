"""Loading: a preset, a YAML file or a mapping, with dotted overrides, becomes a validated configuration.

Every verb loads its configuration with `load()`. A section whose fields depend on a name (the model, the
reader) is a `Plugin`: its `name` selects a module, whose `Config` class has the fields. A new model or reader
is therefore one new file or folder.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from reid.config import strict_yaml
from reid.config.overrides import assign, merge
from reid.config.schema import Config
from reid.config.typed import check, did_you_mean
from reid.errors import ConfigError, UsageError

_YAML = (".yaml", ".yml")


def presets() -> list[str]:
    """Names of the shipped presets, in alphabetical order.

    >>> "baseline/synthetic" in presets()
    True
    """
    root = _presets_folder()
    return sorted(
        f"{system.name}/{Path(entry.name).stem}"
        for system in root.iterdir()
        if system.is_dir()
        for entry in system.iterdir()
        if entry.name.endswith(".yaml")
    )


def load(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Resolve and validate a configuration.

    Args:
        source: name of a preset, path of a YAML file, or a mapping of sections. A YAML file may start from
            another one with `extends: <preset or path>`; its own keys win.
        overrides: "section.field=value" texts, applied in order; values are YAML.

    Returns:
        An immutable `Config`.

    Raises ConfigError for an unknown field or a wrong value; the message names the field and the nearest
    known name. Raises UsageError for an unknown preset or a missing file.

    >>> load("baseline/synthetic", ["train.epochs=2"]).train.epochs
    2
    """
    tree = dict(source) if isinstance(source, dict) else read_tree(str(source))
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


def preset_of(source: str) -> str | None:
    """The shipped preset that a source is, or extends by way of its files. None where there is none."""
    seen: list[str] = []
    while source not in presets():
        seen.append(source)
        base = _base(source, _read(source))
        if base is None or base in seen:
            return None
        source = base
    return source


def read_tree(source: str, trail: tuple[str, ...] = ()) -> dict[str, Any]:
    """The mapping of a preset or a file with all that it extends, not yet validated."""
    tree = _read(source)
    base = _base(source, tree)
    own = {key: value for key, value in tree.items() if key != "extends"}
    if base is None:
        return own
    if base in trail:
        raise ConfigError(f"{_where(source)}: extends goes in a circle ({' -> '.join([*trail, base])}).")
    return merge(read_tree(base, (*trail, base)), own)


def _where(source: str) -> str:
    return source if source.endswith(_YAML) else f"preset {source}"


def _base(source: str, tree: dict[str, Any]) -> str | None:
    """What a tree extends: a preset's name, or a file, which is named from the folder of its own file."""
    base = tree.get("extends")
    if base is None:
        return None
    return str(Path(source).parent / str(base)) if str(base).endswith(_YAML) else str(base)


def _read(source: str) -> dict[str, Any]:
    """The mapping of one file or preset as it is written, `extends` too."""
    if source.endswith(_YAML):
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"{source}: no such config file.")
        text = path.read_text(encoding="utf-8")
    else:
        if source not in presets():
            raise UsageError(f"Unknown preset {source!r}.{did_you_mean(source, presets())}")
        system, name = source.split("/")
        text = (_presets_folder() / system / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        tree = strict_yaml.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{_where(source)}: not valid YAML ({error}).") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{_where(source)}: expected a mapping of sections.")
    return tree


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy of a configuration with some fields replaced, validated again.

    Args:
        config: the configuration; it stays unchanged.
        values: dotted field -> value.

    Raises ConfigError naming the field.

    >>> override(load("baseline/synthetic"), {"train.epochs": 2}).train.epochs
    2
    """
    tree = config.model_dump(mode="json")
    for key, value in values.items():
        assign(tree, key.split("."), value, key)
    return _config(tree)


def _config(tree: dict[str, Any]) -> Config:
    config: Config = check(Config, tree)
    return config


def _presets_folder() -> Traversable:
    """Where the shipped presets lie.

    The folder is no package: importing one would put a module in the place of the function `presets`.
    """
    return importlib.resources.files("reid.config") / "presets"
