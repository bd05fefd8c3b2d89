"""Tells that a store is out while Ray's workers wait for it: their own log stays on their nodes."""

from __future__ import annotations

import time

from pipelines.progress import Say, duration
from reid import storage
from reid.errors import AnyReIDError, StorageRefusal


class StoreWatch:
    """One look now and then whether the store of a verb's output answers. A local folder is never asked."""

    def __init__(self, verb: str, uri: str | None, out: Say) -> None:
        self.verb, self.out = verb, out
        self.uri = uri if uri is not None and storage.is_remote(uri) else None
        self._out_since: float | None = None

    def look(self) -> None:
        """Say that the store does not answer, at every look that finds it so, and once that it is back."""
        if self.uri is None:
            return
        now = time.monotonic()
        try:
            with storage.tried_once():
                storage.exists(self.uri)
        except StorageRefusal:  # it answers: the workers end by this, with the remedy
            return
        except AnyReIDError as error:
            if self._out_since is None:
                self._out_since = now
                why = storage.store_reason(error)
                self.out(
                    f"{self.verb}: the store does not answer ({self.uri}: {why}); the workers wait for it"
                )
            else:
                away = duration(now - self._out_since)
                self.out(f"{self.verb}: the store does not answer, for {away} now; the workers wait for it")
        else:
            if self._out_since is not None:
                away = duration(now - self._out_since)
                self.out(f"{self.verb}: the store answers again, after about {away}")
            self._out_since = None
