"""Rows that no reader on disk can provoke."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reid.data.shards.schema import Caption
from reid.doctor.data.rows import KINDS, check_rows
from reid.doctor.data.source import ExaminedSample
from tests.support.sets.examined_samples import RGB, TEXT, entry


def test_a_sample_id_that_occurs_twice_is_told_and_used_once() -> None:
    rows = [entry(1, 0), entry(1, 0), entry(1, 0), entry(2, 0)]
    kept, (finding,) = check_rows(rows)
    assert kept == [0, 3]
    assert (finding.code, finding.level, finding.count) == ("duplicate-sample-id", "error", 2)
    assert finding.example == "'p1-0' occurs 3 times"


def test_an_empty_caption_is_told() -> None:
    row = entry(1, 0, (RGB, TEXT))
    bad = ExaminedSample(replace(row.sample, captions=(Caption("a coat"), Caption(" "))))
    kept, (finding,) = check_rows([row, bad])
    assert kept == [0]
    assert (finding.code, finding.level, finding.count, finding.example) == (
        "empty-caption",
        "error",
        1,
        "p1-0",
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [({"pid": -4}, "pid is -4"), ({"split": "tset"}, "'tset'"), ({"roles": ("quer",)}, "'quer'")],
)
def test_broken_labels_are_told(labels: dict[str, Any], words: str) -> None:
    row = entry(1, 0)
    bad = ExaminedSample(replace(row.sample, labels=replace(row.sample.labels, **labels)))
    kept, (finding,) = check_rows([bad])
    assert kept == [] and finding.code == "unusable-row"
    assert words in (finding.example or "") and "p1-0" in (finding.example or "")


def test_problems_beyond_the_first_kinds_are_summed_up() -> None:
    rows = [ExaminedSample(entry(1, n).sample, problem=f"{'very ' * n}odd") for n in range(KINDS + 3)]
    kept, findings = check_rows(rows)
    assert kept == []
    assert [f.count for f in findings] == [1] * KINDS + [3]
    assert "3 more kinds" in findings[-1].text
