"""JSON files that are written entry by entry; readers see all of a file or none."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from reid import storage


class _Table:
    """A file that appears at its place when the block ends well."""

    head, gap, tail = "", "", ""

    def __init__(self, uri: str) -> None:
        self.uri = storage.absolute(uri)
        self._started = False

    def __enter__(self) -> Self:
        fs, path = storage.resolve(self.uri)
        self._path, self._partial = path, ""
        self._stream: BinaryIO
        if storage.is_remote(self.uri):
            self._stream = fs.open_output_stream(path)  # an object exists once it is closed
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._partial = f"{path}.{uuid.uuid4().hex}.partial"
            self._stream = open(self._partial, "wb")
        self._write(self.head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write(self.tail)
        self._stream.close()
        if self._partial:
            if kind is None:
                os.replace(self._partial, self._path)
            else:
                os.remove(self._partial)

    def _entry(self, text: str) -> None:
        self._write((self.gap if self._started else "") + text)
        self._started = True

    def _write(self, text: str) -> None:
        self._stream.write(text.encode("utf-8", "surrogatepass"))


class LinesFile(_Table):
    """JSON Lines."""

    def add(self, value: Any) -> None:
        """One line."""
        self._entry(json.dumps(value, ensure_ascii=False) + "\n")


class ArrayFile(_Table):
    """A JSON list, an entry a line."""

    head, gap, tail = "[\n", ",\n", "\n]\n"

    def add(self, value: Any) -> None:
        """One entry."""
        self._entry(json.dumps(value, ensure_ascii=False))


class ObjectFile(_Table):
    """A JSON object, a key a line."""

    head, gap, tail = "{\n", ",\n", "\n}\n"

    def add(self, key: str, value: Any) -> None:
        """One key and its value."""
        self._entry(f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}")
