"""Ladders: an ablation as data. A ladder is a YAML list of rows, each a name and the fields that it changes.

```
- name: +FFM
  note: shown below the table (optional)
  set: {model.ffm.enabled: true, model.frm.enabled: false}
```
"""

from __future__ import annotations

import difflib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from reid.config import Config, Section, override, strict_yaml
from reid.config.typed import check, did_you_mean
from reid.errors import ConfigError, UsageError

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
    files = importlib.resources.files(__package__).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".yaml"))


def load_ladder(source: str) -> Ladder:
    """A shipped ladder by name, or a YAML file. Raises UsageError for neither, ConfigError for a bad row."""
    if source.endswith((".yaml", ".yml")):
        path = Path(source).expanduser()
        if not path.is_file():
            raise UsageError(f"ablate.ladder: {source}: no such file.")
        text = path.read_text(encoding="utf-8")
    elif source in ladders():
        text = (importlib.resources.files(__package__) / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        raise UsageError(
            f"ablate.ladder: there is no ladder {source!r}.{did_you_mean(source, ladders())} Or give a YAML "
            "file with a list of rows {name, set}."
        )
    where = f"ladder {source}"
    try:
        tree = strict_yaml.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error}).") from None
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
