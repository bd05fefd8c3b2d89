"""`--dry-run`: the configuration as a YAML file that `--config` takes, with checks and plans as comments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from reid.config import Config


class DryRun(StrEnum):
    """How much of the configuration a dry run prints."""

    CHANGES = "changes"
    FULL = "full"


FLAG = "--dry-run"
DryRunOption = Annotated[
    DryRun | None,
    typer.Option(
        FLAG,
        metavar="[=full]",
        help="Check, print as YAML what differs from the preset or the defaults, and stop; "
        "--dry-run=full prints every field.",
    ),
]


def with_value(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--dry-run` has its value: an option of Typer has one always or never.

    Raises UsageError for an unknown value.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:end]:
        name, _, value = argument.partition("=")
        if name == FLAG and argument != FLAG and value not in [*DryRun]:
            raise UsageError(f"{FLAG}={value}: unknown. Give {FLAG} for what differs, {FLAG}=full for all.")
    plain = f"{FLAG}={DryRun.CHANGES.value}"
    return [plain if argument == FLAG else argument for argument in arguments[:end]] + [*arguments[end:]]


def print_dry_run(
    config: Config, source: str | None, how: DryRun, as_json: bool = False, **extra: Any
) -> None:
    """Print a configuration that was loaded from a file or preset, and what a verb adds to it.

    As JSON, for programs: every field under `config`, and the additions beside it.
    """
    if as_json:
        print(json.dumps({**extra, "config": config.model_dump(mode="json")}, indent=1))
        return
    from reid.config.changes import changes

    tree = changes(config, str(source))
    preset = tree.get("extends")
    base = f"the preset {preset}" if preset else "the defaults"
    _print(config, tree, base, how, extra)


def print_dry_section(section: BaseModel, how: DryRun, as_json: bool = False) -> None:
    """The same for a verb whose configuration is of its own kind and extends nothing."""
    if as_json:
        print(section.model_dump_json(indent=1))
        return
    from reid.config.changes import not_default

    _print(section, not_default(section), "the defaults", how, {})


def _print(section: BaseModel, tree: dict[str, Any], base: str, how: DryRun, extra: dict[str, Any]) -> None:
    from reid.config import strict_yaml

    if how is DryRun.FULL:
        told, tree = "every field", section.model_dump(mode="json")
    else:
        told = f"what differs from {base}; {FLAG}={DryRun.FULL.value} prints every field"
    lines = [told, *(strict_yaml.dump(extra).splitlines() if extra else [])]
    print("\n".join(f"# {line}".rstrip() for line in lines))
    print(strict_yaml.dump(tree), end="")
