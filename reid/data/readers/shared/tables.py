"""Tables as spreadsheets save them: delimiter and encoding found out, every row with its line.

The delimiter is the one that makes the needed columns of the header; ours is the comma, others are told. A
header that several fit or that names a needed column twice is refused, with the cause. Column names are
compared like labels: `File` is taken for `file` and told.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from reid.data.labels import alike, both, tidy
from reid.data.readers.shared.parquet_tables import PARQUET, ParquetRows
from reid.data.readers.shared.table_rows import ListedRow, ListedRows
from reid.data.readers.shared.text_files import AUTO, read_text
from reid.errors import DataError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SUFFIXES = (".csv", ".tsv", ".txt")
"""Files with such names may be tables."""
_HINT = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""First line that tells spreadsheets the delimiter."""


@dataclass(frozen=True)
class TableFormat:
    """How a table is written, as configured; "auto": found out."""

    delimiter: str = AUTO
    encoding: str = AUTO
    keys: str = "data.reader"
    """Section of the settings `delimiter` and `encoding`, for messages."""
    advice: str = ""
    """What to do when a column lacks."""


@dataclass(frozen=True)
class Table:
    """A table whose columns are called as asked for; `notes` tell what is read otherwise than written."""

    header: list[str]
    rows: ListedRows
    delimiter: str
    notes: list[str] = field(default_factory=list)


def read_table(uri: str, wanted: Sequence[str], needed: Sequence[str], form: TableFormat) -> Table:
    """Read a table; the rows of a Parquet file are read when they are gone through.

    Args:
        uri: the file.
        wanted: names of the columns that are used.
        needed: those of them without which the table cannot be read.
        form: how it is written.

    Raises DataError for what is no table, for a needed column that lacks and for a used one that is named
    twice: with the line, the columns found, and how they were found.
    """
    if uri.lower().endswith(PARQUET):
        parquet = ParquetRows(uri)
        header, told = _header(uri, parquet.names, wanted, 1)
        _refuse_lacking(uri, header, needed, "", form)
        parquet.called(header)
        return Table(header, parquet, "", told)
    file = read_text(uri, form.encoding, f"{form.keys}.encoding")
    notes = [file.note] if file.note else []
    text, first_line, delimiter = file.text, 1, form.delimiter
    if hint := _HINT.match(text):
        text, first_line = text[hint.end() :], 2
        delimiter = hint[1] if delimiter == AUTO else delimiter
    if delimiter == AUTO:
        delimiter = _delimiter(uri, text, needed, form)
        if delimiter != ",":
            notes.append(f"{uri} is read with {DELIMITERS[delimiter]} between its columns")
    lines = _lines(uri, text, delimiter, first_line)
    line, names = _first_row(lines)
    header, told = _header(uri, names, wanted, line)
    between = f" (with {DELIMITERS.get(delimiter, repr(delimiter))} between them)"
    _refuse_lacking(uri, header, needed, between, form)
    rows, unnamed, suspect = [], 0, []
    for line, values in lines:
        if not any(value.strip() for value in values):
            continue
        cells = {name: value.strip() for name, value in zip(header, values, strict=False) if name}
        unnamed += any(value.strip() for name, value in zip(header, values, strict=False) if not name)
        overflow = any(value.strip() for value in values[len(header) :])
        rows.append(ListedRow(line, cells, overflow))
        if any(_holds_rows(value, delimiter, len(header)) for value in values):
            suspect.append(line)
    if suspect:
        told.append(
            f"{uri} line {suspect[0]}: a quoted cell that ends here holds lines that look like rows (such "
            f"cells: {len(suspect)}); if they are rows, a quote before them has no partner: add or remove one"
        )
    if unnamed:
        told.append(f"{uri}: a column without a name is passed over ({unnamed} rows fill it); name it")
    return Table(header, rows, delimiter, [*notes, *told])


def _refuse_lacking(
    uri: str, header: Sequence[str], needed: Sequence[str], between: str, form: TableFormat
) -> None:
    lacking = [name for name in needed if name not in header]
    if lacking:
        found = ", ".join(filter(None, header)) or "nothing"
        raise DataError(
            f"{uri}: column(s) {', '.join(lacking)} missing; found: {found}{between}. {form.advice}"
        )


def _holds_rows(cell: str, delimiter: str, columns: int) -> bool:
    """Whether a cell goes over several lines that could be rows of their own: a quote without a partner."""
    return "\n" in cell and any(line.count(delimiter) >= columns - 1 > 0 for line in cell.splitlines()[1:])


def names_columns(uri: str, needed: Sequence[str], form: TableFormat) -> bool:
    """Whether a file is a table whose header names these columns, however often."""
    try:
        text = read_text(uri, form.encoding).text
    except DataError:
        return False
    text = _HINT.sub("", text, count=1) if _HINT.match(text) else text
    return any(_has(names, needed) for _, names in _headers(uri, text, form))


def _headers(uri: str, text: str, form: TableFormat) -> Iterator[tuple[str, list[str]]]:
    """The header as each delimiter that is possible makes it."""
    for delimiter in DELIMITERS if form.delimiter == AUTO else [form.delimiter]:
        try:
            yield delimiter, _first_row(_lines(uri, text, delimiter, 1))[1]
        except DataError:
            continue


def _has(names: Sequence[str], needed: Sequence[str]) -> bool:
    keys = {alike(name) for name in names}
    return all(alike(name) in keys for name in needed)


def _delimiter(uri: str, text: str, needed: Sequence[str], form: TableFormat) -> str:
    headers = dict(_headers(uri, text, form))
    fitting = [d for d, names in headers.items() if _has(names, needed)]
    if len(fitting) > 1:
        shown = ", ".join(DELIMITERS[d] for d in fitting)
        raise DataError(f"{uri} line 1: the columns may be divided by {shown}; set {form.keys}.delimiter.")
    if fitting:
        return fitting[0]
    return max(headers, key=lambda d: len(headers[d]), default=",")


def _lines(uri: str, text: str, delimiter: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Records with the line that each ends on. Raises DataError naming the line where one begins."""
    table = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    before = first_line - 1
    while True:
        begins = before + table.line_num + 1
        try:
            values = next(table, None)
        except csv.Error as error:
            raise DataError(f"{uri} line {begins}: not a row of a table ({error}).") from None
        if values is None:
            return
        yield before + table.line_num, values


def _first_row(lines: Iterator[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """The first row that is not blank, with its line; no cells where there is none."""
    return next(((line, row) for line, row in lines if any(cell.strip() for cell in row)), (1, []))


def _header(uri: str, names: Sequence[str], wanted: Sequence[str], line: int) -> tuple[list[str], list[str]]:
    """The columns, those that are used by the names asked for; and what to tell."""
    keys = {alike(name): name for name in wanted}
    header: list[str] = []
    notes: list[str] = []
    used: dict[str, str] = {}
    for name in map(tidy, names):
        meant = keys.get(alike(name)) if name else None
        if meant is not None:
            if meant in used:
                pair = both(used[meant], name) if used[meant] != name else repr(name)
                raise DataError(
                    f"{uri} line {line}: the column {pair} is named twice; rename or remove one of them."
                )
            used[meant] = name
            if name != meant:
                notes.append(f"{uri}: the column {name!r} is read as {meant!r}; rename it if it is another")
            header.append(meant)
            continue
        if name in header and name:
            copy = f"{name}.{sum(other.partition('.')[0] == name for other in header) + 1}"
            notes.append(f"{uri}: the column {name!r} is named twice; the later one is kept as {copy!r}")
            name = copy
        header.append(name)
    return header, notes
