"""The table of why rows were set aside."""

from __future__ import annotations

from typing import Any

import pytest

from reid.dataset.report.summary import reason_class, reason_lines, reason_table


def aside(name: str, reason: str, stage: str = "read", files: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"sample_id": name, "stage": stage, "reason": reason, "files": list(files)}


KINDS = [
    (aside("a.jpg", "/x/a.jpg: empty (0 bytes); mend it.", files=("/x/a.jpg",)), "empty; mend it"),
    (aside("b", "s3://b/k/b.png: 9000x8000 exceeds 64,000,000 pixels."), "# exceeds # pixels"),
    (aside("c", "sketch_dog: c: the mask is (3, 4).", "sketch"), "sketch_dog: the mask is"),
    (aside("d", "sample id 'd' occurs twice; rename."), "sample id … occurs twice; rename"),
    (aside("e", "pid is -1; numbered from 0"), "pid is -#; numbered from #"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "kind"), KINDS)
def test_a_kind_of_reason_leaves_out_what_is_particular(row: dict[str, Any], kind: str) -> None:
    assert reason_class(row) == kind


def test_rows_of_one_kind_are_one_line_with_a_count_and_an_example() -> None:
    rows = [
        aside(f"{n}.jpg", f"/x/{n}.jpg: empty file ({n} bytes).", files=(f"/x/{n}.jpg",)) for n in range(5)
    ]
    rows += [aside("z", "net_text: no words", "text")]
    table = reason_table(rows)
    assert [(r.stage, r.count) for r in table] == [("read", 5), ("text", 1)]
    lines = reason_lines(table, 1)
    assert lines[0].split() == ["stage", "rows", "reason", "example"]
    assert lines[1].split()[:4] == ["read", "5", "empty", "file"] and "0.jpg" in lines[1]
    assert lines[2] == "… and 1 more kinds, in quarantine.parquet"
    assert reason_lines([]) == []
