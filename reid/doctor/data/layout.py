"""Finds the reader of a folder: every reader is tried, and the most specific one that fits is used."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import ModuleType

from reid import storage
from reid.config import Config, load, plugin_names
from reid.config.typed import did_you_mean
from reid.data.images import SensorSettings
from reid.data.readers.base import Reader, Record, open_reader
from reid.data.readers.folder.config import KNOWN_ROLES
from reid.data.readers.folder.config import Config as FolderConfig
from reid.data.readers.folder.manifest import needed_columns, table_format
from reid.data.readers.folder.name_patterns import names_of_pictures
from reid.data.readers.shared.folders import contents, expand, file_name, visible
from reid.data.readers.shared.sample_tree import SUFFIXES
from reid.data.readers.shared.tables import SUFFIXES as TABLE_SUFFIXES
from reid.data.readers.shared.tables import names_columns
from reid.doctor.data.recipes import GENERAL, BuildCommand, recipe
from reid.doctor.data.source import read_sample
from reid.doctor.finding import Finding
from reid.errors import AnyReIDError, DataError, UsageError
from reid.modality import Modality, canonical

READERS = "reid.data.readers"
LAST = "folder"
"""Reads any tree of pictures, and is believed only when nothing else fits."""
_PROBES = 8
_MANIFESTS = 4


@dataclass(frozen=True)
class Match:
    """A reader that fits: its configuration, how to build it, and what it lists."""

    reader: Reader
    config: Config
    recipe: BuildCommand
    records: Sequence[Record]
    share: float
    """Of the records, those that the reader has nothing against and, of a few, those that can be loaded."""
    passed: tuple[Refusal, ...] = ()
    """Lists in the folder that look as if they describe the pictures, but cannot be read."""
    others: tuple[str, ...] = ()
    """Lists that look as if they do, besides the one that is read."""

    @property
    def name(self) -> str:
        """The reader's name."""
        return self.config.data.reader.name


@dataclass(frozen=True)
class Refusal:
    """A reader that does not fit, and the reason; `near`: some of the layout's own folders exist."""

    name: str
    why: str
    near: bool
    table: str | None = None
    """The list that was tried."""


def recognise(path: str, only: str | None = None, given: Sequence[str] = ()) -> Match | list[Finding]:
    """The reader of a folder, or the reasons why none fits.

    `only` names the reader to try; `given` are dotted overrides of the configuration. Raises UsageError for
    an unknown reader or override, DataError for a missing folder.
    """
    root = expand(path, "PATH")
    if not storage.exists(root):
        raise DataError(f"{path}: no such folder.")
    path = path if "$" in path else root
    load(GENERAL, [g for g in given if not g.startswith("data.reader.")])  # a wrong override is told as such
    if only is not None:
        return _only(only, path, given)
    names = [n for n in plugin_names(READERS) if n != LAST]
    tried = [t for n in names for t in _tries(n, path, given)]
    matches = [t for t in tried if isinstance(t, Match) and t.share > 0]
    if matches:
        return max(matches, key=_specificity)
    near = [t for t in tried if isinstance(t, Refusal) and t.near]
    if near:
        return [_broken(path, near)]
    below = _below(root)
    if below:
        return [_misplaced(path, below)]
    last = list(_tries(LAST, path, given))
    fitting = _first_match(last)
    if fitting:
        return fitting
    refused = [t for t in [*last, *tried] if isinstance(t, Refusal)]
    return [_unknown(path, root, refused)]


def _only(name: str, path: str, given: Sequence[str]) -> Match | list[Finding]:
    if name not in plugin_names(READERS):
        raise UsageError(f"--reader: unknown {name!r}.{did_you_mean(name, plugin_names(READERS))}")
    if "path" not in _fields(importlib.import_module(f"{READERS}.{name}")):
        raise UsageError(f"--reader {name} reads no folder.")
    recipe(name, path, given).config()
    tried = list(_tries(name, path, given))
    fitting = _first_match(tried)
    if fitting:
        return fitting
    return [
        Finding(
            "error",
            "broken-layout",
            f"The folder is not laid out as {name} expects.",
            "\n".join(one.why for one in tried if isinstance(one, Refusal)),
            f"complete the folder, or let the layout be recognised: leave out --reader {name}",
            1,
        )
    ]


def _tries(name: str, path: str, given: Sequence[str]) -> Iterator[Match | Refusal]:
    """The reader with the settings that it may need here, the fullest first; none if it reads no folder."""
    module = importlib.import_module(f"{READERS}.{name}")
    fields = _fields(module)
    if "path" not in fields or not hasattr(module, "Reader"):
        return
    tables: list[str] = []
    if "manifest" in fields and not any(g.startswith("data.reader.manifest=") for g in given):
        tables = list(_manifests(name, path, given))
    for table in [*tables, None]:
        extra = [f"data.reader.manifest={table}"] if table else []
        tried = _try(name, module, path, [*extra, *given])
        if isinstance(tried, Match):
            others = tables[tables.index(table) + 1 :] if table else []
            yield replace(tried, others=tuple(others))
            return
        yield replace(tried, table=table)


def _first_match(tried: Sequence[Match | Refusal]) -> Match | None:
    """The first that fits, with the lists that were refused before it."""
    refused = tuple(t for t in tried if isinstance(t, Refusal) and t.table)
    return next((replace(t, passed=refused) for t in tried if isinstance(t, Match)), None)


def _fields(module: ModuleType) -> Collection[str]:
    """What a reader can be told; nothing for a module that is no reader."""
    return getattr(getattr(module, "Config", None), "model_fields", ())


def _try(name: str, module: ModuleType, path: str, given: Sequence[str]) -> Match | Refusal:
    try:
        config = recipe(name, path, given).config()
        reader = open_reader(config.data.reader, config.data.name, SensorSettings.of(config.data))
        records = reader.records() if reader.recognises() is not False else []
        if not records:
            raise DataError(f"{path}: nothing to read.")
    except AnyReIDError as error:
        return Refusal(name, str(error), _is_near(module, expand(path, "PATH")))
    modalities = canonical(m for r in records for m in [*r.images, *([Modality.TEXT] if r.captions else [])])
    full = recipe(name, path, given, modalities)
    return Match(reader, full.config(), full, records, _share(reader, config, records))


def _share(reader: Reader, config: Config, records: Sequence[Record]) -> float:
    """Names that fit may be chance (two data sets name files alike): a few files must fit, too."""
    good = [r for r in records if r.problem is None]
    probes = good[:: max(1, len(good) // _PROBES)][:_PROBES]
    if not probes:
        return 0.0
    loaded = sum(not isinstance(read_sample(reader, r, config.build.max_pixels), str) for r in probes)
    return len(good) / len(records) * loaded / len(probes)


def _specificity(match: Match) -> tuple[bool, float, float, int]:
    """Surely its own; fits best; tells most modalities of a capture; explains most files."""
    files = {file for r in match.records for file in r.images.values()}
    modalities = sum(len(r.images) for r in match.records) / len(match.records)
    return match.reader.recognises() is True, match.share, modalities, len(files)


def _manifests(name: str, path: str, given: Sequence[str]) -> Iterator[str]:
    """Tables at the top that name files and identities, as the reader would read them."""
    try:
        config = recipe(name, path, given).config().data.reader
    except AnyReIDError:
        return  # told by the attempt without a table
    if not isinstance(config, FolderConfig):
        return
    there = visible(storage.list_files(expand(path, "PATH")))
    files = [f for f in there if f.lower().endswith(TABLE_SUFFIXES)]
    needed, form = needed_columns(config), table_format(config)
    found = (file_name(f) for f in files if names_columns(f, needed, form))
    yield from islice(found, _MANIFESTS)


def expected_names(module: ModuleType) -> set[str]:
    """The names below <path> that a reader's LAYOUT spells out (a text, or an object with a `tree`)."""
    layout = getattr(module, "LAYOUT", "")
    text = layout if isinstance(layout, str) else str(getattr(layout, "tree", ""))
    tokens = re.findall(r"<path>/([^/\s,(){]*(?:\{[^}]*\}[^/\s,(){]*)*)", text)
    names = {name for token in tokens for name in _braces(token)}
    return {name for name in names if name and not re.search(r"[<>*|]", name)}


def _braces(token: str) -> list[str]:
    """ "cam{1,2}" -> cam1, cam2."""
    match = re.search(r"\{([^}]*)\}", token)
    if match is None:
        return [token]
    left, right = token[: match.start()], token[match.end() :]
    return [name for choice in match[1].split(",") for name in _braces(left + choice.strip() + right)]


def _is_near(module: ModuleType, root: str) -> bool:
    """At least half of what the layout names lies there, and not only names that own folders have, too."""
    names = expected_names(module)
    there = {n for n in names if storage.exists(storage.join(root, n))}
    return len(there) * 2 >= len(names) > 0 and bool(there - set(KNOWN_ROLES))


def _below(root: str) -> list[tuple[str, str]]:
    """(reader, sub-folder) where a known layout begins one level further down."""
    found = []
    modules = [(n, importlib.import_module(f"{READERS}.{n}")) for n in plugin_names(READERS) if n != LAST]
    for folder in visible(storage.list_folders(root))[:_PROBES]:
        found += [(name, folder) for name, module in modules if _is_near(module, folder)]
    return found


def _broken(path: str, near: Sequence[Refusal]) -> Finding:
    names = " or ".join(r.name for r in near)
    return Finding(
        "error",
        "broken-layout",
        f"The folder looks like {names}, but not wholly.",
        "\n".join(f"{r.name}: {r.why}" for r in near),
        f"complete the folder; or use --reader {LAST} if it holds pictures of your own",
        len(near),
    )


def _misplaced(path: str, below: Sequence[tuple[str, str]]) -> Finding:
    name, folder = below[0]
    return Finding(
        "error",
        "one-level-down",
        f"The data set lies one level further down: {', '.join(sorted({file_name(f) for _, f in below}))}.",
        f"{folder} looks like {name}",
        f"give that folder: python -m jobs.doctor data {folder}",
        len({f for _, f in below}),
    )


def _unknown(path: str, root: str, refused: Sequence[Refusal]) -> Finding:
    known = sorted({r.name for r in refused})
    flat = names_of_pictures([file_name(file) for file in storage.Walk(root, SUFFIXES).files(root)])
    remedy = "lay the folder out as one of these, or use --reader NAME to see what that reader misses"
    if flat:
        remedy = f"set {flat.settings}, or {remedy}"
    own = next((r.why for r in refused if r.name == LAST), "")
    if own and "\n" not in own:  # without the expected layout: it fits, but what it says is refused
        gist, _, remedy = own.rstrip(".").partition("; ")
        return Finding("error", "refused-data", f"{gist}.", None, remedy or "correct it", 1)
    return Finding(
        "error",
        "unknown-layout",
        f"No reader fits {path} (tried {', '.join(known)}).",
        own or f"found: {contents(root)}",
        remedy,
        1,
    )
