"""A way to a real S3 server that can be interrupted: what a restart of the server looks like from outside."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlparse


class Relay:
    """Passes connections on to a server until it is cut: then it drops them all and takes no more."""

    def __init__(self, endpoint: str) -> None:
        parsed = urlparse(endpoint)
        self._target = (parsed.hostname or "127.0.0.1", parsed.port or 80)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._left: int | None = None
        self._then: Callable[[], None] = lambda: None
        self.sent = 0
        """Bytes that were sent to the server."""
        self.up = True
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, size: int, then: Callable[[], None] = lambda: None) -> None:
        """Cut when so many more bytes were sent to the server, which gets no more after `then` is called."""
        with self._lock:
            self._left, self._then = size, then

    def cut(self) -> None:
        """Drop every connection in the middle of what it does; refuse new ones."""
        with self._lock:
            self.up, self._left = False, None
            dropped, self._open = self._open, []
        for one in dropped:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def restore(self) -> None:
        """The server is back."""
        self.up = True

    def close(self) -> None:
        """End it."""
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if not self.up:
                client.close()
                continue
            upstream = socket.create_connection(self._target)
            with self._lock:
                self._open += [client, upstream]
            for source, sink, counted in ((client, upstream, True), (upstream, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, counted), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counted and self._spent(len(data)):
                    self._then()
                    self.cut()
                    return
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _spent(self, size: int) -> bool:
        with self._lock:
            self.sent += size
            if self._left is None:
                return False
            self._left -= size
            return self._left < 0
