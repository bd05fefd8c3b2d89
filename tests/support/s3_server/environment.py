"""A virtual environment with OpenStack Swift, made once a user and Python and kept in the cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
LIMIT_S = 420
"""Of the installation, and of waiting for another process that is at it."""

_COMPLETE = "complete"
"""The file that is written last: without it an installation was interrupted, and begins anew."""


class NoSwift(Exception):
    """The environment cannot be made; says why, in one line."""


def swift_environment() -> Path:
    """Its folder, after making it if it is not there yet. Raises NoSwift.

    Several processes may call this at once: one makes the environment, the others wait for it.
    """
    folder = _cache() / _name()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f"{folder.name}.lock")):
            if not ((folder / _COMPLETE).exists() and (folder / "bin" / "python").exists()):
                _make(folder)
    except OSError as error:
        raise NoSwift(f"{folder}: cannot be made ({error}); XDG_CACHE_HOME names another place.") from error
    return folder


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "anyreid-tests"


def _name() -> str:
    """One environment for each version of Swift, of Python, and of the list of packages."""
    content = REQUIREMENTS.read_bytes()
    (version,) = [line.split()[0] for line in content.decode().splitlines() if line.startswith("swift==")]
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return f"{version.replace('==', '-')}-{python}-{hashlib.sha256(content).hexdigest()[:8]}"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however that ends."""
    with open(lock, "w") as held:
        until = time.monotonic() + LIMIT_S
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise NoSwift(f"{lock}: another process has held it for {LIMIT_S} s.") from None
                time.sleep(0.2)
        yield


def _make(folder: Path) -> None:
    # -I: what PYTHONPATH names belongs to the tests, not to Swift.
    _run(sys.executable, "-I", "-m", "venv", "--clear", str(folder))
    install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    python = str(folder / "bin" / "python")
    _run(python, "-I", *install, "--require-hashes", "--requirement", str(REQUIREMENTS))
    (folder / _COMPLETE).touch()


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise NoSwift(f"`{' '.join(command[:6])} ...` took over {LIMIT_S} s.") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-3:]
        raise NoSwift(f"`{' '.join(command[:6])} ...` failed: {' '.join(errors)}")
