"""Every field of the configuration has a description that `--help` and the documentation can show alone."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from reid.config import Config, Section, plugin_names
from reid.config.protocols.spec import ProtocolConfig
from reid.config.sections.translate import TranslateConfig

SHORTEST = 3
"""Words of the shortest description that says something."""
FRAGMENTS = ("of ", "default:", "null:", "those ", "more ", "see ")
"""Beginnings that make sense only beside the field's name or another field."""


def sections_in(section: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """A section and every section that one of its fields holds."""
    if section in seen:
        return
    seen.add(section)
    yield section
    for field in section.model_fields.values():
        for inner in classes_in(field.annotation):
            yield from sections_in(inner, seen)


def classes_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The sections within an annotation such as dict[str, Section] or Section | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from classes_in(inner)


def every_section() -> list[type[BaseModel]]:
    """The sections of the schema, the protocols, the translator, and of every model and reader."""
    roots: list[type[BaseModel]] = [Config, ProtocolConfig, TranslateConfig]
    for package in ("reid.models", "reid.data.readers"):
        roots += [importlib.import_module(f"{package}.{name}").Config for name in plugin_names(package)]
    seen: set[type[BaseModel]] = set()
    return [section for root in roots for section in sections_in(root, seen)]


def name_of(section: type[BaseModel]) -> str:
    return f"{section.__module__}.{section.__name__}"


def test_the_search_finds_models_readers_and_nested_sections() -> None:
    names = {name_of(section) for section in every_section()}
    assert len(names) > 50
    assert {
        "reid.config.sections.training.optim.OptimConfig",
        "reid.config.protocols.spec.SamplingConfig",
        "reid.data.readers.folder.config.Columns",
        "reid.models.mfrnet.model.OfficialConfig",
        "reid.nn.towers.clip.ImageTowerConfig",
    } <= names
    assert all(issubclass(section, Section) for section in every_section())


@pytest.mark.parametrize("section", every_section(), ids=name_of)
def test_every_field_describes_itself(section: type[BaseModel]) -> None:
    wanting = {
        name: field.description
        for name, field in section.model_fields.items()
        if len((field.description or "").split()) < SHORTEST
        or (field.description or "").startswith(FRAGMENTS)
    }
    assert not wanting, f"give these a description that can stand alone: {wanting}"
