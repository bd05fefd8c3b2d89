"""Fingerprints of a generator's code and weights."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import reid.generate
from reid import storage

_ROOMS = ("reid.generate.", "reid.nn.")
_SKIPPED = ("reid.generate.registry", "reid.generate.fingerprints")  # they name and stack, and draw nothing


def import_all() -> None:
    """Import every module of this package, so that each registers its generators."""
    for module in pkgutil.walk_packages(reid.generate.__path__, "reid.generate."):
        importlib.import_module(module.name)


def code_hash(maker: Callable[..., Any]) -> str:
    """Hash of the file of a function or class, and of our drawing modules that it imports, at any depth."""
    own = inspect.getsourcefile(maker)
    return "" if own is None else _files_hash(own)


def weights_print(weights: str) -> str:
    """A fingerprint of the current content behind a `weights` value.

    A local file or folder: the hash of its content. A remote file: its size and time. A Hugging Face name in
    the cache: its revision there. Anything else: the text itself.
    """
    if storage.is_remote(weights):
        return f"{weights}|{storage.stamp(weights)}"
    path = Path(weights).expanduser()
    if path.is_file():
        return _content(str(path), storage.stamp(str(path)))
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        parts = [f"{p.relative_to(path)}={_content(str(p), storage.stamp(str(p)))}" for p in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{weights}|{_revision(weights)}"


@lru_cache(maxsize=256)
def _content(path: str, stamp: str) -> str:
    """SHA-256 of a file, read once per process as long as its `stamp` stays."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _revision(name: str) -> str:
    if name.count("/") != 1:
        return ""
    from huggingface_hub.constants import HF_HUB_CACHE

    head = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs" / "main"
    return head.read_text().strip() if head.is_file() else ""


@lru_cache(maxsize=256)
def _files_hash(own: str) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in code_files(Path(own)))).hexdigest()[:12]


def code_files(own: Path) -> list[Path]:
    """A source file and those of ours that it imports to draw, at any depth, by name."""
    seen = {own}
    queue = [own]
    while queue:
        for name in _imported(queue.pop()):
            found = importlib.util.find_spec(name)
            if found is not None and found.origin and Path(found.origin) not in seen:
                seen.add(Path(found.origin))
                queue.append(Path(found.origin))
    # Not by path: the same code elsewhere is the same. Names alone are not an order: there are two unet.py.
    return sorted(seen, key=lambda file: (file.name, file.parent.name))


def _imported(file: Path) -> Iterator[str]:
    """Our modules that a source file imports anywhere in it, those of the two rooms that draw."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith(_ROOMS) and name not in _SKIPPED and _is_module(name):
                yield name


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is a module, not a package: a name within it
        return False
