"""Writes the metrics table of a run: rows are appended while it trains, and become one file at its end."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reid import storage
from reid.errors import AnyReIDError
from reid.runs.metrics.table import COMPACT, Row, TableReader, attempt_of, is_number, metrics_folder, to_lines
from reid.storage.parts import PartWriter, list_parts

log = logging.getLogger(__name__)

_WHOLE = ("attempt", "total", "epoch", "step", "steps")


class TableWriter:
    """Appends rows to the table of a run; storage that fails is told, and training goes on.

    Args:
        run: the run folder.
        every_s: the longest pause between two parts.
        tell: gets a line about what cannot be written.

    >>> writer = TableWriter("runs/train/other/0001", every_s=0.0)
    >>> writer.row("begin", total=0, epoch=0)
    >>> writer.row("step", total=10, epoch=0, metrics={"loss": 2.0})
    >>> writer.end("finished", total=10, epoch=1)
    True
    """

    def __init__(self, run: str, every_s: float = 30.0, tell: Callable[[str], None] = log.warning) -> None:
        self.run, self._tell = run, tell
        self._parts = PartWriter(metrics_folder(run), "jsonl", every_s, tell)

    def row(self, kind: str, total: int, epoch: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Append a row; it returns at once."""
        place = {"kind": kind, "total": total, "epoch": epoch, "time": round(time.time(), 3)}
        cells = {name: value for name, value in (metrics or {}).items() if name not in place}
        self._parts.add(to_lines([{**place, **cells}])[0])

    def flush(self, wait_s: float) -> bool:
        """Write what waits, for at most so long; whether all is written."""
        return self._parts.flush(wait_s)

    def end(self, why: str, total: int, epoch: int, error: str = "", wait_s: float = 30.0) -> bool:
        """Append the last row, write what waits, and make one file of a finished run; whether all is there.

        `why` is finished, stopped or failed; `error` is the message of a failure.
        """
        self.row("end", total, epoch, {"why": why, **({"error": error} if error else {})})
        if not self._parts.close(wait_s):
            return False
        if why == "finished":
            try:
                compact(self.run)
            except (AnyReIDError, OSError) as error_:
                self._tell(f"{metrics_folder(self.run)}: its parts stay apart ({error_}); nothing is lost")
        return True


def compact(run: str) -> str | None:
    """Make one Parquet file of a run's parts; its uri, or None where there are none.

    The parts are deleted after it is written; whoever reads in between takes the new file. Raises
    StorageError.

    >>> compact("runs/train/no-such-run") is None
    True
    """
    reader = TableReader(run)
    reader.update()
    rows = reader.table().rows
    folder = metrics_folder(run)
    parts = list_parts(folder)
    if not parts or not rows:
        return None
    uri = storage.join(folder, f"{parts[-1].attempt:04d}{COMPACT}")
    storage.write_bytes(uri, to_parquet(rows))
    for part in parts:
        storage.delete_file(part.uri)
    for older in storage.list_files(folder):
        if older.endswith(COMPACT) and attempt_of(older) < attempt_of(uri):
            storage.delete_file(older)
    return uri


def to_parquet(rows: Sequence[Row]) -> bytes:
    """Rows as a Parquet file: a column a metric, empty where a row lacks it.

    >>> to_parquet([{"kind": "step", "total": 1, "loss": 2.0}, {"kind": "end", "total": 1}])[:4]
    b'PAR1'
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        if name in _WHOLE:
            columns[name] = pa.array([None if c is None else int(c) for c in cells], pa.int64())
        elif all(c is None or is_number(c) for c in cells):
            columns[name] = pa.array([None if c is None else float(c) for c in cells], pa.float64())
        else:
            columns[name] = pa.array([None if c is None else str(c) for c in cells], pa.string())
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, compression="zstd")
    return stream.getvalue()
