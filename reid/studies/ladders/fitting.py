"""The configuration of each row of a ladder, with optimiser groups that fit its model."""

from __future__ import annotations

import re

from reid.config import Config, override
from reid.errors import AnyReIDError, ConfigError, UsageError
from reid.runs.untrained import untrained_model
from reid.studies.ladders.ladder import Ladder, LadderRow, apply, ladders, load_ladder


def row_configs(config: Config) -> tuple[Ladder, list[tuple[LadderRow, Config]]]:
    """The ladder of a configuration, and the rows that `ablate.rows` picks with the configuration of each.

    Raises UsageError for an unknown ladder, ConfigError for a bad row or field.
    """
    if config.ablate.ladder is None and config.model.name not in ladders():
        raise UsageError(
            f"ablate.ladder: {config.model.name} has no ladder of its own; set it to one of "
            f"{', '.join(ladders())}, or to a YAML file with a list of rows {{name, set}}."
        )
    ladder = load_ladder(config.ablate.ladder or config.model.name)
    used = used_groups(config)
    rows = [(row, apply(config, row)) for row in ladder.pick(config.ablate.rows)]
    return ladder, [(row, without_idle_groups(changed, used, row.name)) for row, changed in rows]


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
