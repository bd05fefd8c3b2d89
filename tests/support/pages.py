"""Examples of the documentation as files that Python can import, put where a package finds them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import ROOT

DOCS = ROOT / "docs"
_FENCED = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of a page that are marked so, to the letter."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [match["text"] for match in _FENCED.finditer(text) if match["kind"] == kind]


def block(page: str, kind: str) -> str:
    """The only block of its kind."""
    (only,) = blocks(page, kind)
    return only


@contextmanager
def added_to(package: str, folder: Path, file: str, source: str) -> Iterator[str]:
    """`source` as a module of `package`, as if its file lay there: yields the module's name.

    The package's search path gets the folder, so that the source tree stays as it is.
    """
    parent = importlib.import_module(package)
    before = list(parent.__path__)
    name = file.removesuffix(".py")
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(source, encoding="utf-8")
    parent.__path__ = [*before, str(folder)]
    importlib.invalidate_caches()
    try:
        yield f"{package}.{name}"
    finally:
        parent.__path__ = before
        sys.modules.pop(f"{package}.{name}", None)
        if hasattr(parent, name):
            delattr(parent, name)
