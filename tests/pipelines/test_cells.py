"""A table in one cell comes out as it went in, without being copied."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.cells import CELL, in_cell, of_cell


def table(start: int, rows: int) -> pa.Table:
    numbers = range(start, start + rows)
    columns = {"n": list(numbers), "bytes": [b"x" * n for n in numbers], "none": [None] * rows}
    return pa.table(columns, schema=pa.schema({"n": pa.int64(), "bytes": pa.binary(), "none": pa.string()}))


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_table_and_its_pieces_and_metadata_come_back(rows: int) -> None:
    whole = pa.concat_tables([table(0, rows), table(5, 2)]).replace_schema_metadata({"of": "a shard"})
    cell = in_cell(whole)
    assert cell.schema == CELL and cell.num_rows == 1
    back = of_cell(cell)
    assert back.equals(whole, check_metadata=True)
    assert [len(chunk) for chunk in back["n"].chunks if len(chunk)] == [n for n in (rows, 2) if n]


def test_a_row_of_several_is_found_where_it_lies() -> None:
    """Ray Data hands out slices of a block, and blocks joined of others."""
    tables = [table(0, 3), table(10, 2), table(20, 4)]
    joined = pa.concat_tables([in_cell(t) for t in tables])
    one_piece = joined.combine_chunks()
    for block in (joined, one_piece):
        for i, wanted in enumerate(tables):
            assert of_cell(block.slice(i, 1)).equals(wanted)
    with pytest.raises(ValueError, match="3 rows"):
        of_cell(joined)


def test_opening_copies_nothing() -> None:
    cell = in_cell(pa.table({"bytes": [b"x" * 2**20] * 8}))
    before = pa.total_allocated_bytes()
    back = of_cell(cell)
    assert pa.total_allocated_bytes() - before < 2**16
    assert back.num_rows == 8
