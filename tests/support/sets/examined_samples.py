"""Samples as the doctor examines them, without a reader on disk."""

from __future__ import annotations

from typing import Any

from reid.doctor.data.source import ExaminedSample
from reid.modality import Modality
from tests.support.sets.shards import make_sample

RGB, NIR, TEXT = Modality.RGB, Modality.NIR, Modality.TEXT


def entry(pid: int, number: int, modalities: tuple[Modality, ...] = (RGB,), **labels: Any) -> ExaminedSample:
    values = {"split": "test", "camid": number, **labels}
    return ExaminedSample(make_sample(pid, number, modalities, **values))
