"""Walks folders that others filled: finite, each real file once, what is left out known with its reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow.fs as pafs

from reid.storage.listing import Entry, Fault, is_within, list_entries, printable
from reid.storage.refusals import unreachable
from reid.storage.retry import retried
from reid.storage.uris import absolute, is_remote, resolve

_SYSTEM = frozenset(
    [
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp"),
        *("$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("lost+found", "icon\r"),
    ]
)
_SET_ASIDE = {
    Fault.DANGLING: "a link that leads nowhere; restore what it points to, or remove it",
    Fault.NOT_UTF8: "the name is not UTF-8; rename it (for whole folders: convmv -f latin1 -t utf8)",
    Fault.ODD_KEY: "an object key with an empty part, '.' or '..'; copy the object to a plain key",
    Fault.SPECIAL: "neither file nor folder (a pipe, socket or device); replace or remove it",
}
_EXAMPLES = 3


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or is made by systems and tools beside what people put there.

    >>> [is_system(n) for n in ("@eaDir", "Thumbs.db", "._a.jpg", "__MACOSX", "0001", "a.jpg")]
    [True, True, True, True, False, False]
    """
    return name.startswith((".", "__")) or name.lower() in _SYSTEM


@dataclass(frozen=True)
class UnreadEntry:
    """An entry that is not read, and why."""

    uri: str
    fault: Fault

    @property
    def problem(self) -> str:
        """One sentence that names the entry, the reason and the remedy."""
        return f"{self.uri}: {_SET_ASIDE.get(self.fault, self.fault.value)}."


class Walk:
    """Lists the pictures of a data set folder by folder, and remembers what it left out.

    A link to a folder is followed, unless it leads back to a folder above it. A link to what is read under
    its own name is left out, so that no file is read twice.

    Args:
        root: the data set's folder, or an s3:// prefix.
        suffixes: what the names of pictures end in, lower case, without the dot.

    >>> walk = Walk(".", ["jpg"])
    >>> [file.rpartition("/")[2] for file in walk.files(".")], walk.notes()
    (['a.jpg', 'b.jpg'], [])
    """

    def __init__(self, root: str, suffixes: Collection[str]) -> None:
        self.root = absolute(root)
        self._real_root = self.root if is_remote(self.root) else os.path.realpath(self.root)
        self._suffixes = frozenset(suffixes)
        self._left_out: dict[str, UnreadEntry] = {}
        self._outside: dict[str, str] = {}

    def folders(self, folder: str) -> list[str]:
        """Uris of the folders directly below one, sorted."""
        found = [e for e in self._usable(list_entries(folder)) if e.is_folder]
        return self._once(found, {})

    def files(self, folder: str) -> list[str]:
        """Uris of the pictures directly in a folder, sorted."""
        found = [e for e in self._usable(list_entries(folder)) if not e.is_folder and self._is_picture(e.uri)]
        return self._once(found, {})

    def below(self, folder: str) -> list[str]:
        """Uris of the pictures in a folder and at any depth below it, sorted."""
        if is_remote(folder):
            return sorted(self._keys(folder))
        found: dict[str, str] = {}  # where a file really lies -> its uri
        visited: set[str] = set()
        linked_files: list[Entry] = []
        top = absolute(folder)
        linked_folders = deque([Entry(top, is_folder=True, real=os.path.realpath(top))])
        while linked_folders:
            # What lies here itself is found before what only links lead to.
            start = linked_folders.popleft()
            if start.real in visited:
                self._leave_out(start.uri, Fault.TWIN)
            elif visited and is_within(self._real_root, start.real):
                self._leave_out(start.uri, Fault.LOOP)
            else:
                if start.is_link:
                    self._note_outside(start)
                files, folders = self._visit(start, found, visited)
                linked_files += files
                linked_folders += folders
        return self._once(linked_files, found)

    @property
    def broken(self) -> list[UnreadEntry]:
        """The pictures, by their suffix, that are there but cannot be read."""
        return [one for uri, one in sorted(self._left_out.items()) if self._is_set_aside(one)]

    def notes(self) -> list[str]:
        """What else was left out, counted by reason, and how many links lead elsewhere; for a person."""
        counted: dict[Fault, list[str]] = defaultdict(list)
        for uri, one in sorted(self._left_out.items()):
            if not self._is_set_aside(one):
                counted[one.fault].append(uri)
        notes = []
        if counted:
            reasons = [
                f"{f.value}: {len(counted[f])} ({self._examples(f, counted[f])})"
                for f in Fault
                if f in counted
            ]
            notes.append(f"{self.root}: left out {', '.join(reasons)}.")
        if self._outside:
            uri, target = min(self._outside.items())
            notes.append(
                f"{self.root}: links that lead out of the folder, and are followed: {len(self._outside)}, "
                f"e.g. {self._relative(uri)} -> {target}."
            )
        return notes

    def _visit(
        self, start: Entry, found: dict[str, str], visited: set[str]
    ) -> tuple[list[Entry], list[Entry]]:
        """Every folder below that no link leads to; returns the links to files and those to folders."""
        linked_files: list[Entry] = []
        linked_folders: list[Entry] = []
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            if folder.real in visited:
                continue
            visited.add(folder.real)
            for entry in self._usable(list_entries(folder.path), enter=waiting):
                if entry.is_folder:
                    (linked_folders if entry.is_link else waiting).append(entry)
                elif not self._is_picture(entry.uri):
                    continue
                elif entry.is_link:
                    linked_files.append(entry)
                else:
                    found[entry.real] = entry.uri
        return linked_files, linked_folders

    def _usable(self, entries: list[Entry], enter: list[Entry] | None = None) -> list[Entry]:
        """Without what has a fault. Folders whose name is not UTF-8 join `enter`: their pictures are told."""
        kept = []
        for entry in entries:
            if entry.fault is not Fault.ODD_KEY and is_system(entry.name):
                self._leave_out(entry.uri, Fault.SYSTEM)
            elif entry.fault:
                self._leave_out(entry.uri, entry.fault)
                if (
                    entry.fault is Fault.NOT_UTF8
                    and entry.is_folder
                    and not entry.is_link
                    and enter is not None
                ):
                    enter.append(entry)
            else:
                kept.append(entry)
        return kept

    def _once(self, entries: list[Entry], found: dict[str, str]) -> list[str]:
        """Uris with those already found, by where they really lie: each place once, links last."""
        for entry in sorted(entries, key=lambda e: (e.is_link, e.uri)):
            if entry.real in found:
                self._leave_out(entry.uri, Fault.TWIN)
                continue
            found[entry.real] = entry.uri
            if entry.is_link:
                self._note_outside(entry)
        return sorted(found.values())

    def _note_outside(self, link: Entry) -> None:
        if not is_within(link.real, self._real_root):
            self._outside[link.uri] = printable(link.real)

    def _keys(self, folder: str) -> list[str]:
        """Keys of pictures below a prefix: one flat listing, whatever their parts are."""
        fs, path = resolve(folder)
        below = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        try:
            infos = retried(folder, lambda: fs.get_file_info(below))
        except OSError as error:
            raise unreachable(folder, error) from error
        kept = []
        for info in infos:
            if info.type != pafs.FileType.File:
                continue
            uri = f"s3://{info.path}"
            parts = info.path.removeprefix(path).removeprefix("/").split("/")
            odd = {"", ".", ".."}.intersection(parts)
            hidden = next((i for i, part in enumerate(parts) if part not in odd and is_system(part)), None)
            if hidden is not None:
                self._leave_out("/".join([folder, *parts[: hidden + 1]]), Fault.SYSTEM)
            elif odd:
                self._leave_out(uri, Fault.ODD_KEY)
            elif self._is_picture(uri):
                kept.append(uri)
        return kept

    def _is_picture(self, uri: str) -> bool:
        if self._has_suffix(uri):
            return True
        # What lies at the top describes the set: tables, a licence.
        if uri.rpartition("/")[0] != self.root:
            self._leave_out(uri, Fault.NO_PICTURE)
        return False

    def _has_suffix(self, uri: str) -> bool:
        return uri.rpartition("/")[2].rpartition(".")[2].lower() in self._suffixes

    def _is_set_aside(self, one: UnreadEntry) -> bool:
        return one.fault in _SET_ASIDE and self._has_suffix(one.uri)

    def _leave_out(self, uri: str, fault: Fault) -> None:
        self._left_out.setdefault(uri, UnreadEntry(uri, fault))

    def _relative(self, uri: str) -> str:
        return uri.removeprefix(self.root).lstrip("/")

    def _examples(self, fault: Fault, uris: list[str]) -> str:
        """Names or suffixes with their number where they repeat; else the first paths."""
        names = [uri.rpartition("/")[2] for uri in uris]
        if fault is Fault.SYSTEM:
            counted = Counter("._*" if name.startswith("._") else name for name in names)
        elif fault is Fault.NO_PICTURE:
            counted = Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in names)
        else:
            counted = Counter(self._relative(uri) or uri for uri in uris)
        shown = [f"{name} {n}" if n > 1 else name for name, n in counted.most_common(_EXAMPLES)]
        return ", ".join([*shown, "…"] if len(counted) > _EXAMPLES else shown)
