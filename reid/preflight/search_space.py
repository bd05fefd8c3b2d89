"""The space of a search: which values `tune` may draw, and whether a training could take each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from reid.config import Config, override
from reid.config.addresses import run_fingerprint
from reid.errors import ConfigError

Kind = Literal["choice", "uniform", "loguniform", "randint"]
SPACES: dict[Kind, int | None] = {"choice": None, "uniform": 2, "loguniform": 2, "randint": 2}
"""Kinds of ranges, and how many values each takes; None: one or more."""
_SET_BY_TUNE = {
    "train.epochs": "tune.epochs",
    "train.val.every_epochs": "a trial, which validates every epoch",
}


def check_space(config: Config) -> None:
    """Raise ConfigError for an empty space, a field that does not exist, or bounds that make no sense."""
    for _ in drawn_configs(config):
        pass


def drawn_configs(config: Config) -> Iterator[tuple[str, Config]]:
    """Each value of each field by itself: (where it stands, the configuration with it).

    Of a range, its bounds and, if it draws fractions, one value between. Raises what `check_space` raises.
    """
    if not config.tune.space:
        raise ConfigError("tune.space: empty; e.g. train.optim.lr: {loguniform: [1e-4, 1e-2]}.")
    for field, entry in config.tune.space.items():
        kind, values = _range(field, entry)
        where = f"tune.space.{field}.{kind}"
        # An unknown field or a wrong type is told here.
        found = [(f"{where}: {value!r}", override(config, {field: value})) for value in values]
        _check_effect(field, config, [one for _, one in found])
        yield from found


def possible_trial(config: Config) -> tuple[Config, dict[str, Any]]:
    """A configuration that a trial may have, and the values of the space in it that are not the search's own.

    A field keeps its value if a trial may draw that, and has the first of its range otherwise: a value that
    no trial has is no fault. A trial trains in one process, whatever `train.workers` says. Raises what
    `check_space` raises of the ranges.
    """
    changed: dict[str, Any] = {}
    for field, entry in config.tune.space.items():
        kind, values = _range(field, entry)
        own: Any = config.model_dump(mode="json")
        for key in field.split("."):
            own = own.get(key) if isinstance(own, dict) else None
        number = isinstance(own, int | float)
        if not (own in values if kind == "choice" else number and values[0] <= own <= values[1]):
            changed[field] = values[0]
    return override(config, {"train.workers": 0, **changed}), changed


def _range(field: str, entry: Mapping[Kind, list[Any]]) -> tuple[Kind, list[Any]]:
    """The kind of a field's range, and what it may draw. Raises ConfigError."""
    where = f"tune.space.{field}"
    if len(entry) != 1:
        raise ConfigError(f"{where}: give exactly one of {', '.join(SPACES)}.")
    (kind, values), *_ = entry.items()
    wanted = SPACES[kind]
    if not values or (wanted is not None and len(values) != wanted):
        raise ConfigError(f"{where}.{kind}: expected {wanted or 'at least one'} value(s), got {values!r}.")
    return kind, list(values) if wanted is None else _bounds(kind, values, f"{where}.{kind}")


def _check_effect(field: str, config: Config, drawn: list[Config]) -> None:
    """Raise ConfigError for a field on which no trial depends."""
    if field in _SET_BY_TUNE or (field == "train.steps_per_epoch" and config.tune.steps_per_epoch):
        raise ConfigError(f"tune.space.{field}: set by {_SET_BY_TUNE.get(field, 'tune.steps_per_epoch')}.")
    changed = [one for one in drawn if one != config]
    names = {run_fingerprint(one, "") for one in [config, *changed]}
    if changed and len(names) == 1:
        raise ConfigError(
            f"tune.space.{field}: no training depends on it (trials read a shard set that is built before). "
            "Search fields of model, train, or what the model sees of data."
        )


def _bounds(kind: str, values: list[Any], where: str) -> list[float]:
    """What a range may draw: its bounds and, if it draws fractions, one between. Raises ConfigError."""
    if not all(isinstance(v, int | float) for v in values):
        raise ConfigError(f"{where}: expected two numbers, got {values!r}.")
    low, high = values
    if not low < high:
        raise ConfigError(f"{where}: the lower bound {low} is not below {high}.")
    if kind == "loguniform" and low <= 0:
        raise ConfigError(f"{where}: bounds must be above 0, got {low}.")
    return [low, high - 1] if kind == "randint" else [low, high, low + (high - low) / math.pi]
