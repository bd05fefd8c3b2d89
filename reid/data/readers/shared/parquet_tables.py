"""Tables that are Parquet files: their rows as a text table has them, read some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from reid import storage
from reid.data.readers.shared.table_rows import ListedRow
from reid.errors import DataError

PARQUET = ".parquet"
_ROWS = 16_384


class ParquetRows:
    """The rows of a Parquet file; the first is line 1. They may be gone through several times.

    Args:
        uri: the file.

    Raises DataError for what is no Parquet file.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with self._opened() as file:
            self.names: list[str] = file.schema_arrow.names
            self._schema, self._count = file.schema_arrow, int(file.metadata.num_rows)
        self.header: list[str] = self.names
        """What each column is called; "": it is passed over."""

    def called(self, header: Sequence[str]) -> None:
        """Call the columns otherwise. Raises DataError for one that holds no texts, numbers or dates."""
        for name, field in zip(header, self._schema, strict=True):
            if name and _is_no_text(field.type):
                raise DataError(
                    f"{self.uri}: the column {name!r} is of type {field.type}; save it as text or numbers, "
                    "or remove it."
                )
        self.header = list(header)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ListedRow]:
        line = 0
        with self._opened() as file:
            for batch in file.iter_batches(_ROWS):
                columns = [
                    (name, _texts(column))
                    for name, column in zip(self.header, batch.columns, strict=True)
                    if name
                ]
                for place in range(batch.num_rows):
                    line += 1
                    cells = {name: texts[place].strip() for name, texts in columns}
                    if any(cells.values()):
                        yield ListedRow(line, cells, False)

    def _opened(self) -> pq.ParquetFile:
        try:
            filesystem, path = storage.resolve(self.uri)
            return pq.ParquetFile(filesystem.open_input_file(path), pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.uri}: not readable as a Parquet file ({error}).") from None


def _is_no_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _texts(column: pa.Array) -> list[str]:
    """A column as texts; what is null is blank."""
    texts: list[str] = column.cast(pa.large_string()).fill_null("").to_pylist()
    return texts
