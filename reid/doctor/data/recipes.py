"""From a data set to the command that builds it: the preset and the overrides that fit."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from reid.config import Config, load, presets
from reid.data.readers.shared.folders import file_name
from reid.errors import ConfigError
from reid.modality import Subset, subset_name

GENERAL = "baseline/demo"
"""The preset for data that have none of their own: small towers, any modality."""
_FIRST_SYSTEM = "baseline/"
_UNNAMED = ("exported", "folder", "synthetic")
"""Readers of a layout, not of one data set: a preset that uses them says nothing about other data."""


@dataclass(frozen=True)
class BuildCommand:
    """A preset with overrides: what `--preset` and dotted overrides make a configuration of."""

    preset: str
    overrides: tuple[str, ...]

    def config(self) -> Config:
        """The resolved configuration."""
        return load(self.preset, self.overrides)

    def command(self, verb: str) -> str:
        """What to type."""
        return shlex.join(["python", "-m", f"jobs.{verb}", "--preset", self.preset, *self.overrides])


@cache
def preset_of(reader: str) -> str | None:
    """The simplest shipped preset for a reader's data set."""
    if reader in _UNNAMED:
        return None
    listed = sorted(presets(), key=lambda name: (not name.startswith(_FIRST_SYSTEM), name))
    for name in listed:
        if name.partition("/")[2].replace("-", "_") == reader.replace("-", "_"):
            return name
    for name in listed:
        try:
            if load(name).data.reader.name == reader:
                return name
        except ConfigError:
            continue
    return None


def recipe(reader: str, path: str, given: Sequence[str], modalities: Subset = ()) -> BuildCommand:
    """How to build what `reader` reads at `path`; `given` overrides come last and win."""
    preset = preset_of(reader)
    if preset:
        return BuildCommand(preset, (f"data.reader.path={path}", *given))
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", file_name(path)).strip("-").lower() or "mine"
    section = json.dumps({"name": reader, "path": path})
    own = [f"name={name}", f"data.name={name}", f"data.reader={section}"]
    if modalities:
        own.append(f"data.modalities={subset_name(modalities)}")
    return BuildCommand(GENERAL, (*own, *given))


def shard_recipe(dataset: str, path: str, given: Sequence[str], modalities: Subset) -> BuildCommand:
    """How to use a built shard set."""
    own = [f"data.shards={path}"]
    preset = preset_of(dataset)
    if preset is None:
        own += [f"name={dataset}", f"data.name={dataset}", f"data.modalities={subset_name(modalities)}"]
    return BuildCommand(preset or GENERAL, (*own, *given))
