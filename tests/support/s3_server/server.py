"""A real S3 server for tests: OpenStack Swift, which may be stopped and started again with what it holds."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.s3_server.environment import swift_environment
from tests.support.s3_server.settings import ACCESS_KEY, SERVERS, write_settings

STARTS_WITHIN_S = 90


class NoS3Server(Exception):
    """It does not start; says why."""


class S3Server:
    """Started by entering it, or by `start`; `aws` are the variables that lead a client to it.

    >>> with S3Server(tmp_path) as server:  # doctest: +SKIP
    ...     server.client().create_bucket(Bucket="photos")
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: empty or not there yet; holds settings, logs and data."""
        _require_attributes(folder)
        self._python = swift_environment() / "bin" / "python"
        self._folder = folder
        # Held as long as this object lives: nobody else is given the ports, also while the server is stopped.
        self._held = [_free_port() for _ in SERVERS]
        self._ports = dict(zip(SERVERS, (one.getsockname()[1] for one in self._held), strict=True))
        self._keeper: subprocess.Popen[bytes] | None = None
        self.aws = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['proxy']}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "AWS_REGION": "us-east-1",
        }
        self.accept(self.aws["AWS_SECRET_ACCESS_KEY"])

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def accept(self, secret: str) -> None:
        """From its next start on, this is the secret of its key; `aws` keeps the first one."""
        write_settings(self._folder, self._ports, secret)

    def start(self, clock_ahead_s: float = 0.0) -> None:
        """Start it and wait until it answers. Raises NoS3Server.

        With a clock that is wrong, or another secret than that in `aws`, a refusal is an answer.
        """
        program = Path(__file__).with_name("serve.py")
        ports = [f"{name}={port}" for name, port in self._ports.items()]
        with open(self._folder / "serve.log", "ab") as log:
            self._keeper = subprocess.Popen(
                [str(self._python), "-I", str(program), str(self._folder), f"{clock_ahead_s}", *ports],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the tests reaches them first, and the server at their end
            )
        until = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            if self._keeper.poll() is not None or time.monotonic() > until:
                self.stop()
                raise NoS3Server(f"the S3 server does not answer: {self._last_words()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, as a power cut would; what it confirmed is kept for the next `start`."""
        if self._keeper is not None:
            with suppress(BrokenPipeError):
                self._keeper.communicate(timeout=30)
            self._keeper = None

    def close(self) -> None:
        """Stop it and give its ports back."""
        self.stop()
        for one in self._held:
            one.close()

    def client(self) -> Any:
        """A client of its own, whatever the AWS variables say; it does not try again."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.aws["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.aws["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.aws["AWS_SECRET_ACCESS_KEY"],
            region_name=self.aws["AWS_REGION"],
            config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 0}),
        )

    def _answers(self) -> bool:
        """All four do: a listing needs the proxy and the account's server, so ask the others first."""
        from botocore.exceptions import BotoCoreError, ClientError

        for port in self._ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        try:
            self.client().list_buckets()
        except ClientError as error:
            return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 403)
        except BotoCoreError:
            return False
        return True

    def _last_words(self) -> str:
        lines = []
        for log in sorted(self._folder.glob("*.log")):
            lines += [f"{log.name}: {line}" for line in log.read_text(errors="replace").splitlines()[-3:]]
        return " | ".join(lines) or f"no word in {self._folder} within {STARTS_WITHIN_S} s"


def _free_port() -> socket.socket:
    """A socket bound to a free port; Swift shares its ports, so it may bind the same one beside it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _require_attributes(folder: Path) -> None:
    """Swift keeps what it knows of a file in its extended attributes; not every file system has them."""
    if sys.platform != "linux":
        raise NoS3Server("OpenStack Swift runs on Linux")
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / "attributes"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift", b"1")
    except OSError as error:
        raise NoS3Server(
            f"{folder}: its file system keeps no extended attributes ({error}), which the S3 server needs; "
            "--basetemp names another folder."
        ) from error
    finally:
        probe.unlink()
