"""Studies that lie in this package as YAML, by name; or a YAML file of the user's."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import yaml

from reid.config import strict_yaml
from reid.config.typed import did_you_mean
from reid.errors import ConfigError, UsageError


def shipped_names(package: str) -> list[str]:
    """The names of the YAML files of a package, in alphabetical order.

    >>> "mfrnet" in shipped_names("reid.studies.ladders")
    True
    """
    files = importlib.resources.files(package).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".yaml"))


def read_study(source: str, package: str, kind: str, field: str, form: str) -> Any:
    """What a study's YAML holds, not checked yet.

    Args:
        source: the name of a file of `package`, or a path that ends in .yaml or .yml.
        package: where the shipped ones lie.
        kind: what messages call a study, e.g. "ladder".
        field: where the user named it, for messages.
        form: what a file has to hold, for messages.

    Raises UsageError for neither a name nor a file, ConfigError for what is no YAML.
    """
    known = shipped_names(package)
    if source.endswith((".yaml", ".yml")):
        path = Path(source).expanduser()
        if not path.is_file():
            raise UsageError(f"{field}: {source}: no such file.")
        text = path.read_text(encoding="utf-8")
    elif source in known:
        text = (importlib.resources.files(package) / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        raise UsageError(
            f"{field}: there is no {kind} {source!r}.{did_you_mean(source, known)} Or give a YAML file with "
            f"{form}."
        )
    try:
        return strict_yaml.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{kind} {source}: not valid YAML ({error}).") from None
