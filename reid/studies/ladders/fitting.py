"""The optimiser groups that fit a row's model, known before any is trained."""

from __future__ import annotations

import re

from reid.config import Config, override
from reid.errors import AnyReIDError, ConfigError
from reid.runs.untrained import untrained_model


def used_groups(config: Config) -> set[str]:
    """The `match` of every optimiser group that holds a trainable parameter."""
    matches = [group.match for group in config.train.optim.groups]
    if not matches:
        return set()
    names = [name for name, p in untrained_model(config).named_parameters() if p.requires_grad]
    return {found for name in names if (found := next((m for m in matches if re.search(m, name)), None))}


def without_idle_groups(config: Config, used: set[str], row: str) -> Config:
    """Leave out the optimiser groups of modules that this row takes away.

    Only those that hold something in the given configuration (`used`): any other is a typing mistake, which
    training refuses. Raises ConfigError naming the row when its model cannot be built.
    """
    try:
        own = used_groups(config)
    except AnyReIDError as error:
        raise ConfigError(f"row {row!r}: {error}") from None
    groups = config.train.optim.groups
    kept = [g for g in groups if g.match in own or g.match not in used]
    if len(kept) == len(groups):
        return config
    return override(config, {"train.optim.groups": [g.model_dump(mode="json") for g in kept]})
