"""Tracebacks of unexpected failures, in files beside the output."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from reid import storage

FOLDER = "errors"


def with_traceback(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; what it raises carries its traceback as a note, which a way between processes keeps."""

    @wraps(function)
    def run(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            error.add_note(traceback.format_exc())
            raise

    return run


def carried(error: BaseException) -> str | None:
    """The traceback that `with_traceback` gave an error."""
    return next((note for note in getattr(error, "__notes__", ()) if note.startswith("Traceback")), None)


def write_traceback(place: str, name: str, what: BaseException | str) -> str:
    """Write an error with its traceback, or a text, to `<place>/errors/<time>-<name>.txt`; where it is.

    Where that cannot be written, it is in the folder for temporary files. Raises nothing.
    """
    text = what if isinstance(what, str) else "".join(traceback.format_exception(what))
    file = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{name}.txt"
    for folder in (place, storage.join(tempfile.gettempdir(), "anyreid")):
        uri = storage.join(storage.absolute(folder), FOLDER, file)
        try:
            storage.write_bytes(uri, text.encode())
        except Exception:  # a full disk or a revoked secret may be why we are here
            continue
        return uri
    return "could not be written"
