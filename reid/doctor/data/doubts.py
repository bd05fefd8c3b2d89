"""Layouts of own folders that can be read, but are probably meant otherwise, each with what mends it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from reid import storage
from reid.data.readers.base import Reader, Record
from reid.data.readers.folder.config import Config
from reid.data.readers.folder.name_patterns import NamePattern, names_of_pictures
from reid.data.readers.folder.parts import FolderSource
from reid.data.readers.shared import sample_tree
from reid.data.shards.schema import SPLITS
from reid.doctor.finding import Finding
from reid.modality import Modality

_CAMERA = re.compile(r"(?:cam|camera|kamera|cctv)[-_ ]?(?:\d{1,4}|[a-z])", re.IGNORECASE)
_MAYBE_CAMERA = re.compile(r"(?:c|ch|channel|v|view)[-_ ]?\d{1,3}", re.IGNORECASE)
"""C12 may be a car."""
_BANDS: dict[str, str | None] = {
    **{word: None for word in ("uv", "lidar") if word not in Modality.known},
    **{word: m.value for m in Modality for word in m.entry.near},
}
"""What captures besides the registered modalities, and the one that is nearest, if any."""
_GROUPS = 10
"""Groups of identities are fewer than this, and hold at least `_PER_GROUP` on average."""
_PER_GROUP = 5
_SHARED = 0.5
_SEEN_TWICE = 2


def layout_doubts(reader: Reader, records: Sequence[Record]) -> list[Finding]:
    """Doubts about what the folder reader takes for identities and modalities; none for other readers.

    Args:
        reader: it has listed `records`.
        records: all of them; those with a problem are told elsewhere.
    """
    if not isinstance(reader.config, Config):
        return []
    good = [r for r in records if not r.problem]
    identities = {r.labels.pid for r in good}
    found: list[Finding | None] = []
    if not reader.config.manifest:
        tree = _Tree(reader.config, good)
        if len(identities) == 1 and len(good) > 1:
            found.append(_one_identity(tree, good))
        elif not reader.config.identity_pattern and tree.rows:
            kinds = (_modalities, _cameras, _groups)
            misread = next((doubt for kind in kinds if (doubt := kind(tree))), None)
            found.append(misread or _separate_numbers(tree, good))
        found.append(_bands(tree))
    told = [f for f in found if f is not None]
    if len(identities) > 1 and not any(f.code.endswith("-as-identities") for f in told):
        told += _one_identity_splits(good)
    return told


class _Tree:
    """The paths of the pictures, seen as folders."""

    def __init__(self, config: Config, records: Sequence[Record]) -> None:
        self.source = FolderSource(config)
        root = f"{self.source.root}/"
        files = [uri.removeprefix(root) for r in records for uri in r.images.values()]
        inner = f"{sample_tree.PHOTOS}/"
        if any(file.startswith(inner) for file in files):  # patterns see paths below imgs
            files = [file.removeprefix(inner) for file in files if file.startswith(inner)]
        self.files = sorted(files)
        tops = {file.partition("/")[0] for file in files if "/" in file}
        self.has_splits = bool(tops) and all(self.source.rule(top) for top in tops)
        skipped = 1 if self.has_splits else 0
        self.rows = [tuple(file.split("/")[skipped:]) for file in self.files]
        self.above = "[^/]+/" * skipped

    @cached_property
    def tops(self) -> list[str]:
        """Names of the folders that are taken as identities."""
        return sorted({row[0] for row in self.rows if len(row) > 1})

    @cached_property
    def inner(self) -> dict[str, set[str]]:
        """Folders within those, besides modalities: name -> the folders that hold one of the name."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            if len(row) > 2 and not self.source.words.is_modality(row[1]):
                found[row[1]].add(row[0])
        return found

    @property
    def is_deep(self) -> bool:
        """Every picture lies in such an inner folder."""
        return all(len(row) > 2 and row[1] in self.inner for row in self.rows)

    @property
    def by_inner_folder(self) -> str:
        """What takes the inner folders for identities."""
        return f"data.reader.identity_pattern='^{self.above}[^/]+/([^/]+)/'"

    @property
    def camera_by_top(self) -> str:
        """What takes the folders for cameras."""
        match = [re.fullmatch(r"(.*?)(\d+)", top) for top in self.tops]
        words = {m[1] for m in match if m}
        numbered = len(words) == 1 and all(match)
        group = f"{re.escape(words.pop())}([0-9]+)" if numbered else "([^/]+)"
        return f"data.reader.camera_pattern='^{self.above}{group}/'"

    @cached_property
    def names(self) -> NamePattern | None:
        """The pattern by which names begin with an identity."""
        return names_of_pictures(self.files)

    @cached_property
    def begun(self) -> dict[str, set[str]]:
        """The identities that names seem to tell -> the folders that hold one of the name."""
        where: dict[str, set[str]] = defaultdict(set)
        for file, row in zip(self.files, self.rows, strict=True):
            if self.names and (match := re.search(self.names.identity, file)):
                where[match[1]].add(row[0])
        return where

    @property
    def names_shared(self) -> float:
        """Of the identities that names seem to tell, how many lie in several of the folders."""
        return sum(len(tops) >= _SEEN_TWICE for tops in self.begun.values()) / max(1, len(self.begun))

    @property
    def within(self) -> int:
        """How many names there are in the folders: of inner folders, or beginnings of files."""
        return len(self.inner) or len(self.begun)


@dataclass(frozen=True)
class _Reading:
    """Another reading of the folders, and what sets it."""

    text: str
    settings: str


def _one_identity(tree: _Tree, records: Sequence[Record]) -> Finding:
    """All is one identity: a folder too many, or pictures that only their names tell apart."""
    name = tree.tops[0] if tree.tops else tree.files[0]
    if len(tree.inner) > 1 and tree.is_deep and not _look_like_cameras(tree.inner):
        setting = f"data.reader.path={storage.join(tree.source.root, name)}"
        setting = tree.by_inner_folder if tree.has_splits else setting
        remedy = f"the identities seem to lie in {name}: set {setting}"
    elif tree.names:
        remedy = f"the names of the pictures seem to tell the identity: set {tree.names.settings}"
    else:
        remedy = (
            "lay the pictures out in one folder an identity, list them in a data.reader.manifest, or set "
            "data.reader.identity_pattern, e.g. '([^/_]+)_[^/]*$' for 0007_1.jpg"
        )
    return Finding(
        "error",
        "one-identity",
        f"All {len(records)} captures are of one identity, {name!r}: there is nothing to tell apart.",
        tree.files[0],
        remedy,
        len(records),
    )


def _modalities(tree: _Tree) -> Finding | None:
    """VIS/0001/a.png beside LWIR/0001/a.png."""
    if len(tree.tops) < 2 or not all(tree.source.words.is_modality(top) for top in tree.tops):
        return None
    settings = tree.by_inner_folder if tree.is_deep else tree.names.settings if tree.names else None
    return Finding(
        "error",
        "modalities-as-identities",
        f"The folders that are taken as identities are named like modalities: {_some(tree.tops)}.",
        tree.files[0],
        f"set {settings}" if settings else "put them into a folder for each identity: 0001/nir/a.png",
        len(tree.tops),
    )


def _cameras(tree: _Tree) -> Finding | None:
    """cam0/0001_2.jpg beside cam1/0001_7.jpg, or cam0/0001/2.jpg beside cam1/0001/7.jpg."""
    if len(tree.tops) < 2:
        return None
    sure = _look_like_cameras(tree.tops)
    named = sure or (_look_like_cameras(tree.tops, _MAYBE_CAMERA) and tree.within > len(tree.tops))
    shared = sum(len(tops) >= _SEEN_TWICE for tops in tree.inner.values()) / max(1, len(tree.inner))
    if tree.is_deep and named and shared >= _SHARED and not _look_like_cameras(tree.inner):
        other = _Reading("each holds folders of the same names", tree.by_inner_folder)
    elif tree.names and tree.names_shared >= _SHARED and (named or _names_outnumber(tree)):
        setting = f"data.reader.identity_pattern='{tree.names.identity}'"
        other = _Reading("the pictures in them have names that begin alike", setting)
    elif sure:
        other = _Reading("", "data.reader.identity_pattern, e.g. '([^/_]+)_[^/]*$' for 0007_1.jpg, and")
    else:
        return None
    seems = "are named like cameras" if named else "may be cameras or groups"
    return Finding(
        "error" if named and other.text else "warning",
        "cameras-as-identities",
        f"The folders that are taken as identities {seems}: {_some(tree.tops)}"
        + (f"; {other.text}." if other.text else "."),
        tree.files[0],
        f"if they are, set {other.settings} {tree.camera_by_top}",
        len(tree.tops),
    )


def _names_outnumber(tree: _Tree) -> bool:
    """Few folders, and many beginnings of names that most of them share."""
    if len(tree.tops) > _GROUPS or tree.inner:
        return False
    dates = all(re.fullmatch(r"(19|20)\d{6}", word) for word in tree.begun)
    return len(tree.begun) >= 3 * len(tree.tops) and not dates


def _groups(tree: _Tree) -> Finding | None:
    """A few folders, each with many folders of names that occur in it alone."""
    many = len(tree.inner) >= _PER_GROUP * len(tree.tops)
    shared = sum(len(tops) >= _SEEN_TWICE for tops in tree.inner.values())
    if not (1 < len(tree.tops) <= _GROUPS and many and tree.is_deep and shared * 10 <= len(tree.inner)):
        return None
    return Finding(
        "warning",
        "groups-as-identities",
        f"{len(tree.tops)} folders are taken as identities ({_some(tree.tops)}), but hold {len(tree.inner)} "
        "folders of names that differ: these may be the identities.",
        tree.files[0],
        f"if they are, set {tree.by_inner_folder}",
        len(tree.inner),
    )


def _separate_numbers(tree: _Tree, records: Sequence[Record]) -> Finding | None:
    """train/1 and test/1, which may be two: splits whose identities are numbered from 1 in each."""
    found: dict[str, set[int]] = defaultdict(set)
    for record in records:
        found[record.labels.split].add(record.labels.pid)
    tested = found["test"] | found["val"]
    roles = any(r.labels.roles for r in records)
    if not tree.has_splits or roles or len(tested) < _SEEN_TWICE or not tested <= found["train"]:
        return None
    return Finding(
        "info",
        "same-identities-in-splits",
        f"All {len(tested)} identities outside train have names that occur in train: do they mean the same?",
        tree.files[0],
        "if each split numbers its own, set data.reader.identity_pattern='^([^/]+/[^/]+)/'",
        len(tested),
    )


def _one_identity_splits(records: Sequence[Record]) -> list[Finding]:
    """A split in which every answer is right."""
    found: dict[str, set[int]] = defaultdict(set)
    for record in records:
        found[record.labels.split].add(record.labels.pid)
    alone = [split for split in SPLITS if len(found[split]) == 1]
    if not alone:
        return []
    counts = ", ".join(f"{split} {len(found[split])}" for split in SPLITS if found[split])
    return [
        Finding(
            "warning",
            "one-identity-in-split",
            f"The split {' and '.join(alone)} has one identity, so that there is nothing to tell apart in it "
            f"(identities: {counts}).",
            next(r.labels.sample_id for r in records if r.labels.split == alone[0]),
            "give it more identities; where nothing names the split, data.reader.test_fraction divides them",
            len(alone),
        )
    ]


def _bands(tree: _Tree) -> Finding | None:
    """Words like MWIR or depth: no modality is called so, and the picture passes as another."""
    found = Counter(
        word
        for row in tree.rows
        for word in {part.lower() for part in [*row[1:-1], *re.split(r"[_.-]", row[-1])]} & _BANDS.keys()
        if word not in tree.source.words.configured
    )
    found = Counter({word: n for word, n in found.items() if n >= _SEEN_TWICE})
    if not found:
        return None
    word = min(found)
    counted = ", ".join(f"{name} ({n} pictures)" for name, n in sorted(found.items()))
    near = _BANDS[word]
    setting = f"set data.reader.modality_names='{{{word}: {near}}}', or "
    return Finding(
        "warning",
        "unknown-modality-word",
        "Names that seem to tell a modality which is not known, so that the pictures are read as "
        f"{tree.source.config.modality.value}: {counted}.",
        next(f for f in tree.files if word in re.split(r"[_./-]", f.lower())),
        f"{setting if near else ''}move them away",
        sum(found.values()),
    )


def _look_like_cameras(names: Collection[str], pattern: re.Pattern[str] = _CAMERA) -> bool:
    return len(names) > 1 and all(pattern.fullmatch(name) for name in names)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
