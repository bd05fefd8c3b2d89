"""Which fields of a configuration change what a training learns, and which only how it is done.

A field says it where it is declared: `Field(..., json_schema_extra=SAME_RESULT)` is no part of a run's
name. A section in such a field is left out as a whole. Every other field counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

SAME_RESULT: JsonDict = {"changes_result": False}
"""Marks a field that says where, how fast or how safely work is done: the weights come out the same."""


def changes_result(field: FieldInfo) -> bool:
    """Whether a field counts for what is learnt.

    >>> from reid.config import TrainConfig
    >>> [changes_result(TrainConfig.model_fields[name]) for name in ("epochs", "workers")]
    [True, False]
    """
    extra = field.json_schema_extra
    return not (isinstance(extra, dict) and extra.get("changes_result") is False)


def result_settings(section: BaseModel) -> dict[str, Any]:
    """The fields of a section, and of the sections in it, that change what is learnt.

    Args:
        section: any section of the configuration.

    Returns:
        JSON-able values by name.

    >>> from reid.config import TrainConfig
    >>> settings = result_settings(TrainConfig(epochs=3, workers=8))
    >>> settings["epochs"], "workers" in settings, "prefetch_threads" in settings["batch"]
    (3, False, False)
    """
    tree = section.model_dump(mode="json")
    return {
        name: _kept(getattr(section, name), tree[name])
        for name, field in type(section).model_fields.items()
        if changes_result(field)
    }


def _kept(value: Any, tree: Any) -> Any:
    if isinstance(value, BaseModel):
        return result_settings(value)
    if isinstance(value, dict):
        return {name: _kept(part, tree[name]) for name, part in zip(tree, value.values(), strict=True)}
    if isinstance(value, list | tuple):
        return [_kept(part, made) for part, made in zip(value, tree, strict=True)]
    return tree


@dataclass(frozen=True)
class Difference:
    """A field in which two configurations differ: its dotted name, and the value in each."""

    field: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.theirs!r} there, {self.ours!r} here"


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Difference]:
    """The fields that differ between two results of `result_settings`, in the order of `ours`.

    >>> [str(d) for d in differences({"train": {"epochs": 60}}, {"train": {"epochs": 45}})]
    ['train.epochs: 45 there, 60 here']
    """
    return list(_differences(ours, theirs, ""))


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in [*ours, *(name for name in theirs if name not in ours)]:
            yield from _differences(ours.get(name), theirs.get(name), f"{path}.{name}".lstrip("."))
    elif ours != theirs:
        yield Difference(path, ours, theirs)
