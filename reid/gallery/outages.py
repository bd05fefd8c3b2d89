"""A gallery whose store is out for a while: a job that fills it waits for it, an endpoint does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from reid import storage
from reid.errors import GalleryError, StorageError, StorageRefusal

T = TypeVar("T")

_OUT = re.compile(
    r"Generic S3 error|error sending request|connection (refused|reset|closed)|timed? ?out", re.I
)
_REFUSED = re.compile(r"\b(401|403)\b|AccessDenied|InvalidAccessKey|SignatureDoesNotMatch")


def outlasting(uri: str, call: Callable[[], T]) -> T:
    """What `call` returns; while the store of the gallery at `uri` does not answer, call it again.

    `call` may be called many times: reading, or adding items, which replace themselves. Raises the last error
    when the store has been out for too long (see `reid.storage.retried`), any other error at once.

    >>> outlasting(gallery.uri, lambda: gallery.dim)
    16
    """
    return storage.retried(uri, call, _is_out)


def _is_out(error: Exception) -> bool:
    """Whether it is what the table's library says of a store that is away; a refusal is none."""
    text = str(error)
    if isinstance(error, StorageRefusal) or _REFUSED.search(text):
        return False
    return isinstance(error, StorageError | GalleryError) and _OUT.search(text) is not None
