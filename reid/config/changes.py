"""What a configuration changes: of the preset that it extends, or of the defaults."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from reid.config.loading import load, preset_of, read_tree
from reid.config.overrides import merge
from reid.config.schema import Config
from reid.config.typed import Plugin

_PLUGINS = {"model", "reader"}
"""Sections that another name replaces as a whole."""


def changes(config: Config, source: str) -> dict[str, Any]:
    """A mapping that makes `config` again when it is loaded from a file, and says no more than it must.

    `source` is what `config` was loaded from, a preset or a file. The mapping extends the preset of that,
    if it has one and if what differs can be said so: a file that extends another cannot take an entry out
    of `build.generate`. Else it holds all that is not a default.
    """
    preset, full, given = preset_of(source), config.model_dump(mode="json"), not_default(config)
    if preset is not None:
        changed = _difference(load(preset).model_dump(mode="json"), full, given)
        if load(merge(read_tree(preset), changed)).model_dump(mode="json") == full:
            return {"extends": preset, **changed}
    return given


def not_default(section: BaseModel) -> dict[str, Any]:
    """The fields of a section that differ from their defaults, with the names that pick plugins."""
    tree = section.model_dump(mode="json")
    kept = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        picks = name == "name" and isinstance(section, Plugin)
        if picks or field.is_required() or value != field.get_default(call_default_factory=True):
            kept[name] = _lean(value, tree[name])
    return kept


def _lean(value: Any, tree: Any) -> Any:
    if isinstance(value, BaseModel):
        return not_default(value)
    if isinstance(value, dict):
        return {name: _lean(part, tree[name]) for name, part in zip(tree, value.values(), strict=True)}
    return tree


def _difference(base: dict[str, Any], full: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in full.items():
        old = base.get(key)
        if key in base and old == value:
            continue
        other = key in _PLUGINS and isinstance(old, dict) and old.get("name") != value.get("name")
        if other or not isinstance(value, dict) or not isinstance(old, dict):
            changed[key] = given.get(key, value)
        else:
            changed[key] = _difference(old, value, given.get(key, {}))
    return changed
