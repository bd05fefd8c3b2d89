"""Numbers that papers state for a system and a data set; a report shows them beside its own."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import Field

from reid.config import strict_yaml
from reid.config.typed import Section, check
from reid.modality import parse_subset, subset_name

NOTE = "published, not measured here"
METRICS = ("mAP", "R1", "R5", "R10")
Percent = float | None


class _PublishedEntry(Section):
    """A row of published.yaml; numbers in %."""

    label: str
    source: str
    query: str
    gallery: str | None = None
    protocol: str | None = None
    mAP: Percent = Field(None, ge=0, le=100)  # noqa: N815
    R1: Percent = Field(None, ge=0, le=100)
    R5: Percent = Field(None, ge=0, le=100)
    R10: Percent = Field(None, ge=0, le=100)


@dataclass(frozen=True)
class PublishedRow:
    """What a source states of one pairing. Numbers are fractions in [0, 1]; a metric not stated is absent."""

    label: str
    source: str
    query: str
    gallery: str
    numbers: tuple[tuple[str, float], ...]

    def get(self, metric: str) -> float | None:
        """The number of a metric, None if the source does not state it."""
        return dict(self.numbers).get(metric)

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        names = {"label": self.label, "query": self.query, "gallery": self.gallery, "source": self.source}
        return {**names, **dict(self.numbers), "note": NOTE}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> PublishedRow:
        """The row of a report.json."""
        numbers = tuple((m, float(tree[m])) for m in METRICS if tree.get(m) is not None)
        label, source, query, gallery = (str(tree[key]) for key in ("label", "source", "query", "gallery"))
        return cls(label, source, query, gallery, numbers)


def published_rows(system: str, dataset: str, protocol: str | None = None) -> tuple[PublishedRow, ...]:
    """What is published of a system (`model.name`) on a data set (`data.name`); rows of another protocol
    than `protocol` are left out.

    Raises ConfigError when the shipped file is malformed.
    """
    tree = _tree().get(system, {}).get(dataset, [])
    found = []
    for i, row in enumerate(tree):
        entry = check(_PublishedEntry, row, f"published.{system}.{dataset}.{i}")
        if entry.protocol not in {None, protocol}:
            continue
        stated = [(metric, getattr(entry, metric)) for metric in METRICS]
        numbers = tuple((metric, value / 100) for metric, value in stated if value is not None)
        query, gallery = _spelled(entry.query), _spelled(entry.gallery or entry.query)
        found.append(PublishedRow(entry.label, entry.source, query, gallery, numbers))
    return tuple(found)


@lru_cache
def _tree() -> dict[str, Any]:
    text = (importlib.resources.files(__package__) / "published.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = strict_yaml.parse(text)
    return tree


def _spelled(side: str) -> str:
    return "|".join(subset_name(parse_subset(kind)) for kind in side.split("|"))
