"""One row from its raw files: a bad file is the row's fault, a failing storage is not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import Labels, Sample
from reid.dataset.stages.reading import read_record
from reid.errors import DataError, StorageError
from reid.modality import Modality

RECORD = Record(
    Labels("x", "photos", "train", 0), {Modality.RGB: "s3://b/x.jpg", Modality.NIR: "s3://b/x.jpg"}
)


def reader(problem: Exception | None, cause: Exception | None = None, sample: Sample | None = None) -> Reader:
    class Failing:
        def load(self, record: Record, max_pixels: int) -> Any:
            if problem is None:
                return sample
            raise problem from cause

    return cast(Reader, Failing())


def test_a_storage_that_fails_is_not_the_fault_of_the_row() -> None:
    problem = StorageError("s3://b/x.jpg: cannot be accessed.")
    with pytest.raises(StorageError):
        read_record(RECORD, reader(problem, OSError("timeout")), 100)


@pytest.mark.parametrize("cause", [FileNotFoundError(), PermissionError(), IsADirectoryError()])
def test_a_file_that_is_not_there_or_closed_to_us_sets_its_row_aside(cause: Exception) -> None:
    row = read_record(RECORD, reader(StorageError("s3://b/x.jpg: cannot be accessed."), cause), 100)
    assert (row.stage, row.error) == ("read", "s3://b/x.jpg: cannot be accessed.")
    assert row.files == ("s3://b/x.jpg",), "one strip may hold every modality"


def test_a_bad_file_and_a_malformed_sample_set_their_rows_aside() -> None:
    assert read_record(RECORD, reader(DataError("x.jpg: empty")), 100).error == "x.jpg: empty"
    row = read_record(RECORD, reader(None, sample=Sample(RECORD.labels, {})), 100)
    assert row.stage == "read" and "no modality at all" in str(row.error)
