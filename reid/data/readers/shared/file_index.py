"""Finds the files that a list names, also where list and disk spell a path differently.

Lists come from other systems than the files: with another Unicode form (an archive from a Mac), another
letter case, backslashes. A file that is spelled as listed is taken without a word; else the only one that
differs in those is, and told. Two that fit, or one that differs in more, are named in the row's problem.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from reid import storage
from reid.data.labels import alike, both, difference, tidy
from reid.data.readers.shared.folders import file_name

_NAMES = 2_000_000
"""Names of files that are remembered, of the folders that were named last."""
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True)
class FoundFile:
    """A listed file: where it is, or why it cannot be found."""

    uri: str
    """As on disk; as listed when it is not there."""
    problem: str | None = None
    """Ends a sentence that begins with the row: "names …, which is missing"."""


class FileIndex:
    """The files below a root. Only folders that are named are listed, and once, as long as
    some million names are enough.

    Args:
        root: the folder that listed paths are relative to.
        what: what a listed file is, for messages: "row", "line", "entry".

    >>> import tempfile, pathlib
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "A.JPG").write_bytes(b"")
    0
    >>> index = FileIndex(str(root), "row")
    >>> index.find("a.jpg").uri == str(root / "A.JPG"), index.notes("list.csv")
    (True, ["list.csv: 1 path differs from the disk in letter case ('a.jpg' is 'A.JPG')"])
    """

    def __init__(self, root: str, what: str) -> None:
        self.root, self.what = root, what
        self._files: dict[str, _Names] = {}
        self._folders: dict[str, _Names] = {}
        self._told: dict[str, tuple[int, str, str]] = {}
        self._held = 0

    def find(self, path: str) -> FoundFile:
        """The file that a path means: relative to the root, or a whole path or s3:// uri."""
        whole = storage.is_remote(path) or path.startswith("/")
        uri = path if whole else storage.join(self.root, posixpath.normpath(path))
        folder, _, name = uri.rpartition("/")
        if name in self._listed(folder, False).own:
            return FoundFile(uri)
        spelled = path.replace("\\", "/")
        if whole:
            step = self._step(folder, name, False)
        else:
            step = self._walk([p for p in posixpath.normpath(spelled).split("/") if p])
        if isinstance(step, str):
            self._tell(path, spelled, step.removeprefix(f"{folder if whole else self.root}/"))
            return FoundFile(step)
        return FoundFile(uri, self._problem(path, uri, step))

    def notes(self, listed: str) -> list[str]:
        """What was found under another spelling than listed, a line for each kind of difference."""
        return [
            f"{listed}: {count} {'paths differ' if count > 1 else 'path differs'} from the disk in {how} "
            f"({both(path, found, ' is ')})"
            for how, (count, path, found) in self._told.items()
        ]

    def _walk(self, parts: list[str]) -> str | list[str]:
        """The uri below the root, or the names that are near where no single one fits."""
        folder = self.root
        for position, part in enumerate(parts):
            step = self._step(folder, part, position < len(parts) - 1)
            if not isinstance(step, str):
                return step
            folder = step
        return folder

    def _step(self, folder: str, part: str, is_folder: bool) -> str | list[str]:
        names = self._listed(folder, is_folder)
        if part in names.own:
            return storage.join(folder, part)
        for found in (names.tidy.get(tidy(part), []), names.folded.get(tidy(part).casefold(), [])):
            if len(found) == 1:
                return storage.join(folder, found[0])
            if found:
                return found
        return names.near.get(alike(part), [])

    def _listed(self, folder: str, folders: bool) -> _Names:
        known, listing = (
            (self._folders, storage.list_folders) if folders else (self._files, storage.list_files)
        )
        if folder not in known:
            known[folder] = _Names(frozenset(file_name(uri) for uri in listing(folder)))
            if not folders:
                self._forget(len(known[folder].own))
        return known[folder]

    def _forget(self, more: int) -> None:
        """Make room for a folder of so many files, the newest; forgotten ones are listed anew if need be."""
        self._held += more
        while self._held > _NAMES and len(self._files) > 1:
            self._held -= len(self._files.pop(next(iter(self._files))).own)

    def _tell(self, path: str, spelled: str, found: str) -> None:
        hows = ["backslashes"] if path != spelled else []
        plain = posixpath.normpath(spelled)
        if [*map(tidy, plain.split("/"))] != [*map(tidy, found.split("/"))]:
            hows.append("letter case")
        elif plain != found:
            hows.append("Unicode form or spaces")
        if hows:
            how = " and ".join(hows)
            count, first, there = self._told.get(how, (0, path, found))
            self._told[how] = (count + 1, first, there)

    def _problem(self, path: str, uri: str, near: list[str]) -> str:
        if _WINDOWS.match(path):
            return f"names {path!r}, a path of another system; give paths relative to the reader's path"
        missing = f"names {uri}, which is missing"
        if len(near) > 1:
            return f"{missing}, while {both(*near[:2])} {difference(*near[:2])}; name one of them"
        if near:
            return f"{missing}, while there is {near[0]!r}; correct one of the two spellings"
        return f"{missing}; restore the file or remove the {self.what}"


class _Names:
    """The names in a folder, and which of them are one spelled differently."""

    def __init__(self, own: frozenset[str]) -> None:
        self.own = own

    @cached_property
    def tidy(self) -> dict[str, list[str]]:
        return _grouped(self.own, tidy)

    @cached_property
    def folded(self) -> dict[str, list[str]]:
        return _grouped(self.own, lambda name: tidy(name).casefold())

    @cached_property
    def near(self) -> dict[str, list[str]]:
        return _grouped(self.own, alike)


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        found[key(name)].append(name)
    return found
