"""Typed, strict sections: an unknown key is an error that suggests the nearest name; plugin sections."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid.errors import AnyReIDError, ConfigError


class Section(BaseModel):
    """A part of the configuration: immutable, and an unknown key is an error.

    >>> class Size(Section):
    ...     height: int = 256
    >>> Size(height=128).height
    128
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Plugin(Section):
    """A section whose further fields come from the module that `name` selects.

    >>> from reid.models.baseline import Config
    >>> issubclass(Config, Plugin), Config().name
    (True, 'baseline')
    """

    name: str = Field(description="name of the module that defines the remaining fields")


_NO_PLUGINS = {"base", "registry", "shared"}
"""What a package of plugins keeps for itself."""


def plugin_names(package: str) -> list[str]:
    """Names of the modules and folders of a package that define a `Config`; imports none of them.

    >>> "baseline" in plugin_names("reid.models")
    True
    """
    path = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if m.name not in _NO_PLUGINS)


def plugin(package: str, field: str) -> Callable[[Any], Any]:
    """A validator for a plugin section: it turns a mapping with a `name` into the `Config` of that module.

    Args:
        package: package whose modules are the choices.
        field: dotted name of the section, for messages.

    >>> plugin("reid.models", "model")("baseline").name
    'baseline'
    """

    def validate(value: Any) -> Any:
        if isinstance(value, Plugin):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ConfigError(f"{field}.name is missing. Known: {', '.join(plugin_names(package))}.")
        name = value["name"]
        if name not in plugin_names(package):
            raise ConfigError(f"{field}.name: unknown {name!r}.{did_you_mean(name, plugin_names(package))}")
        section: type[Plugin] = importlib.import_module(f"{package}.{name}").Config
        return check(section, value, field)

    return validate


def check(section: type[Any], value: Any, prefix: str = "") -> Any:
    """Validate a value as a section.

    Args:
        section: the section's class.
        value: a mapping or a section.
        prefix: dotted name of the section, for messages.

    Raises ConfigError with one line for each problem: the field, the fact, and the nearest known name.

    >>> check(Section, {"epoch": 1}, "train")
    Traceback (most recent call last):
    reid.errors.ConfigError: train.epoch: unknown key. Known: .
    """
    try:
        return section.model_validate(value)
    except ValidationError as error:
        raise ConfigError(_explain(section, error, prefix)) from None


def as_validator(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Turn a parser that raises our errors into a validator of a pydantic field.

    >>> from reid.modality import parse_modality
    >>> as_validator(parse_modality)("rgb").value
    'rgb'
    """

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except AnyReIDError as error:
            raise ValueError(str(error)) from None

    return validate


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """ " Did you mean 'x'? Known: x, y.", the end of a message about an unknown name.

    >>> did_you_mean("epoch", ["epochs", "workers"])
    " Did you mean 'epochs'? Known: epochs, workers."
    """
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known)}."


def _explain(section: type[BaseModel], error: ValidationError, prefix: str) -> str:
    lines = []
    for item in error.errors():
        location = ".".join([*([prefix] if prefix else []), *(str(p) for p in item["loc"])])
        if item["type"] == "extra_forbidden":
            known = list(_fields_at(section, item["loc"][:-1]))
            lines.append(f"{location}: unknown key.{did_you_mean(str(item['loc'][-1]), known)}")
        elif item["type"] == "missing":
            lines.append(f"{location}: missing; give it a value.")
        else:
            message = item["msg"].removeprefix("Value error, ").rstrip(".")
            lines.append(f"{location}: {message} (got {item['input']!r}).")
    return "\n".join(lines)


def _fields_at(section: type[BaseModel], location: Sequence[int | str]) -> Iterator[str]:
    """Field names of the section at a location, through mappings and sequences of sections."""
    current: Any = section
    for part in location:
        fields = getattr(current, "model_fields", None)
        current = fields[part].annotation if fields and part in fields else _section_in(current)
    yield from getattr(_section_in(current), "model_fields", {})


def _section_in(annotation: Any) -> Any:
    """The section class within an annotation such as dict[str, Section] or Section | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_in(inner) for inner in get_args(annotation))
    return next((f for f in found if f is not None), None)
