"""What a reader took otherwise than written or passed over, as findings."""

from __future__ import annotations

from reid.data.readers.base import Reader
from reid.doctor.finding import Finding


def reader_notes(reader: Reader) -> list[Finding]:
    """A finding for every note of a reader whose `records()` were listed."""
    return [_finding(line) for line in reader.notes]


def _finding(line: str) -> Finding:
    text, _, remedy = line.rstrip(".").partition("; ")
    return Finding("info", "reader-note", f"{text}.", None, remedy or "none, if that is meant", 1)
