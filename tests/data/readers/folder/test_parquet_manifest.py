"""Parquet manifests: what a CSV file of the same rows gives, read some rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from reid.data.readers.folder.parts import FilePart, packed_part, unpacked_part
from reid.data.readers.shared import file_index, parquet_tables, sorted_spool
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.folder_trees import put, read, reader

COLUMNS: dict[str, Any] = {
    "file": ["b/2.jpg", "b/2_nir.jpg", "a/1.jpg", None, "c/9.jpg", "a/3.jpg"],
    "pid": [7, 7, 3, None, 3, 12],
    "camid": ["c1", "c1", " c2", None, "nan", None],
    "split": ["train", "train", "query", None, "gallery", "train"],
    "modality": ["rgb", "nir", None, None, None, None],
    "capture": ["two", "two", None, None, None, None],
    "price": [1.5, None, 2.0, None, None, None],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "b/2.jpg", "b/2_nir.jpg", "a/1.jpg", "a/3.jpg")
    pa.csv.write_csv(pa.table(COLUMNS), tmp_path / "list.csv")
    pq.write_table(pa.table(COLUMNS).set_column(3, "split", pa.array(COLUMNS["split"]).dictionary_encode()),
                   tmp_path / "list.parquet", row_group_size=4)  # fmt: skip
    return tmp_path


@pytest.mark.parametrize("most", [250_000, 2, 0])
def test_a_parquet_manifest_gives_what_a_csv_file_gives(
    root: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_csv, told = read(root, manifest="list.csv")
    assert len(by_csv) == 4 and sum(r.problem is not None for r in by_csv.values()) == 1, "c/9 is missing"
    monkeypatch.setattr(parquet_tables, "_ROWS", 2)
    monkeypatch.setattr(file_index, "_NAMES", 1)
    monkeypatch.setattr(sorted_spool.SortedSpool.__init__, "__defaults__", (most,))
    found, notes = read(root, manifest="list.parquet")
    assert notes == [note.replace("list.csv", "list.parquet") for note in told]
    assert [*found] == [*by_csv]
    for name, one in by_csv.items():
        problem = one.problem and one.problem.replace("list.csv line 6", "list.parquet line 5")
        assert (found[name].labels, found[name].images, found[name].problem) == (
            one.labels,
            one.images,
            problem,
        )


def test_rows_are_read_as_they_are_wanted_and_not_before(root: Path) -> None:
    rows = parquet_tables.ParquetRows(str(root / "list.parquet"))
    assert len(rows) == 6 and [row.line for row in rows] == [1, 2, 3, 5, 6], "a blank row is none"
    assert next(iter(rows)).cells["price"] == "1.5"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"file": ["a"]}, r"list\.parquet: column\(s\) pid missing; found: file\. "),
        ({"file": ["a"], "pid": [1], "box": [[1, 2]]}, r"the column 'box' is of type list.*or remove it"),
        ({"file": [b"a"], "pid": [1]}, "the column 'file' is of type binary"),
        ({"file": ["a"], "File": ["b"], "pid": [1]}, "is named twice"),
        ({"file": pa.array([], pa.string()), "pid": pa.array([], pa.int64())}, "no row"),
        (None, "not readable as a Parquet file"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, table: Any, says: str) -> None:
    if table is None:
        (tmp_path / "list.parquet").write_bytes(b"file,pid\na,1\n")
    else:
        pq.write_table(pa.table(table), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=says):
        reader(tmp_path, manifest="list.parquet").records()


def test_a_part_on_disk_is_the_part() -> None:
    for one in (
        FilePart("", "row"),
        FilePart("a", "w", "i", "train", ("query",), "c", Modality.NIR, "u", "say", {"k": "v"}, "bad", True),
        FilePart("half of a pair \udc80", "w"),
    ):
        assert unpacked_part(packed_part(one)) == one
