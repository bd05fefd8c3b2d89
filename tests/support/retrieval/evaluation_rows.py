"""Labels of samples for tests, in one line each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reid.evaluate.protocols.exclusion_rules import RULES
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.modality import Modality

CAPTURED = Provenance()
GENERATED = Provenance("generated")


def row(name: str, pid: int, camid: int | None = None, **more: Any) -> SampleLabels:
    """A sample with a captured RGB image, unless told otherwise."""
    made = SampleLabels(name, "toy", pid, camid=camid, images={Modality.RGB: CAPTURED})
    return replace(made, **more)


def infrared(name: str, pid: int, camid: int | None = None, **more: Any) -> SampleLabels:
    """A sample with a captured near-infrared image."""
    return row(name, pid, camid, images={Modality.NIR: CAPTURED}, **more)


def dropped(rule: str, queries: Any, gallery: Any, labels: list[SampleLabels]) -> list[list[int]]:
    """What one rule excludes, as 0 and 1."""
    return RULES[rule].function(*label_arrays_of(queries, gallery, labels)).int().tolist()
