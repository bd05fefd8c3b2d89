"""Ladders: an ablation as data. A ladder is a YAML list of rows, each a name and the fields that it changes.

```
- name: +FFM
  note: shown below the table (optional)
  set: {model.ffm.enabled: true, model.frm.enabled: false}
```
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from reid.config import Config, Section, override
from reid.config.typed import check
from reid.errors import ConfigError, UsageError
from reid.studies.shipped import read_study, shipped_names

_PACKAGE = "reid.studies.ladders"

OURS = ("name", "workdir", "run", "seed", "ablate")
"""Fields that the ablation itself sets, or that do not belong to a configuration under study."""


class LadderRow(Section):
    """A rung: a name and the dotted fields that it changes."""

    name: str = Field(min_length=1, description="name of the row in the table")
    set: dict[str, Any] = Field(
        {}, description="changed fields: dotted field -> value; empty: the configuration as it is"
    )
    note: str | None = Field(None, description="remark about the row for the report")


@dataclass(frozen=True)
class Ladder:
    """Rows in order; `name` is the shipped name or the file."""

    name: str
    rows: tuple[LadderRow, ...]

    def pick(self, names: Sequence[str] | None) -> tuple[LadderRow, ...]:
        """The rows of these names in this order, or all. Raises ConfigError for a name that is none."""
        known = {row.name: row for row in self.rows}
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"ablate.rows: ladder {self.name} has no row {name!r}.{hint} "
                    f"Known: {', '.join(map(repr, known))}."  # quoted: names may have commas
                )
        return self.rows if names is None else tuple(known[name] for name in names)


def ladders() -> list[str]:
    """Names of the shipped ladders."""
    return shipped_names(_PACKAGE)


def load_ladder(source: str) -> Ladder:
    """A shipped ladder by name, or a YAML file. Raises UsageError for neither, ConfigError for a bad row."""
    where, form = f"ladder {source}", "a list of rows {name, set}"
    tree = read_study(source, _PACKAGE, "ladder", "ablate.ladder", form)
    if not isinstance(tree, list) or not tree:
        raise ConfigError(f"{where}: expected a list of rows {{name, set}}.")
    rows: list[LadderRow] = [check(LadderRow, item, f"{where}, row {n}") for n, item in enumerate(tree, 1)]
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: two rows are named {twice!r}.")
    return Ladder(source, tuple(rows))


def apply(config: Config, row: LadderRow) -> Config:
    """The configuration with a row's fields. Raises ConfigError naming the row and the field."""
    where = f"row {row.name!r}"
    for field in row.set:
        if field.partition(".")[0] in OURS:
            raise ConfigError(f"{where}: {field} cannot be a row's; give it for the whole ablation.")
    try:
        return override(config, row.set)
    except UsageError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from None


def differences(base: Config, other: Config) -> dict[str, Any]:
    """Dotted field -> the other's value, where it is not the base's."""
    return dict(_differences(base.model_dump(mode="json"), other.model_dump(mode="json"), ""))


def _differences(base: Any, other: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(base, dict) and isinstance(other, dict):
        keys = [*other, *(key for key in base if key not in other)]
        return [
            found
            for key in keys
            for found in _differences(base.get(key), other.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if base == other else [(path, other)]
