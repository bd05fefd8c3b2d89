"""Which settings of sensors a run records: those that its shard set was built with."""

from __future__ import annotations

from typing import Any

from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError


def sensors_of(config: Config, shards: ShardSet) -> dict[str, Any]:
    """The settings of `data` that made a set's deep pictures 8-bit, as its manifest records them.

    Raises ConfigError when the configuration names others.
    """
    built: dict[str, Any] = shards.manifest.config.get("data", {})
    asked = config.data.sensors()
    if asked and asked != built:
        raise ConfigError(
            f"data: {shards.root} was built with {built or 'the defaults of range and fourth_band'}, "
            f"not with {asked}. Leave them out to take the set's own, or build with them, without "
            "data.shards."
        )
    return built
