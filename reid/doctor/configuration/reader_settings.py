"""Settings of the folder reader that a data set needs: what its labels leave open, and what lies beside it.

Each setting is tried: it is kept only where the reader then reads more, or reads what it could not before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reid import storage
from reid.config import Config, override
from reid.data.images import SensorSettings
from reid.data.readers.base import Reader, Record, open_reader
from reid.data.readers.folder.config import KNOWN_ROLES, spelled_role
from reid.data.readers.shared.folders import expand, file_name, visible
from reid.data.readers.shared.sample_tree import CAPTIONS
from reid.doctor.configuration.setting import Setting
from reid.errors import AnyReIDError
from reid.modality import PHOTO

FOLDER = "folder"
_TEXTS = 4
_SEEDS = 50
_HALF = 0.5
_GALLERY_WORDS = ("distractor", "distractors", "junk")
_UNKNOWN = re.compile(r"has the (split|role|modality) '([^']+)'")
"""How the folder reader names a word that it does not know (reid/data/readers/folder/manifest.py)."""
CAMERA_PATTERNS = (r"(?i)cam(?:era)?[ _-]?(\d+)", r"(?:^|[_/-])c(\d+)(?=[s_./-])")
"""How cameras are named in file names: cam1, camera_2, 0001_c3s1_…"""


@dataclass(frozen=True)
class ReadData:
    """A configuration, and what its reader lists."""

    config: Config
    reader: Reader
    records: Sequence[Record]

    @property
    def usable(self) -> list[Record]:
        """The records that the reader has nothing against."""
        return [r for r in self.records if r.problem is None]

    @property
    def splits(self) -> Counter[str]:
        """Usable records by split."""
        return Counter(r.labels.split for r in self.usable)

    def changed(self, *settings: Setting) -> ReadData | None:
        """The data read with more settings; None where the reader refuses them."""
        try:
            config = override(self.config, {s.field: s.value for s in settings})
            reader = open_reader(config.data.reader, config.data.name, SensorSettings.of(config.data))
            return ReadData(config, reader, reader.records())
        except AnyReIDError:
            return None


def choose_reader_settings(data: ReadData, given: Sequence[str]) -> tuple[ReadData, list[Setting]]:
    """The data as read with the settings that it needs, and those settings.

    Args:
        data: the data as it was recognised.
        given: the user's own overrides, which are left alone.

    Other readers than `folder` need none: their layouts leave nothing open.
    """
    if data.config.data.reader.name != FOLDER:
        return data, []
    chosen = list(_recognised(data.config))
    fixed = {one.partition("=")[0] for one in given}
    for step in _STEPS:
        for settings, fits in step(data):
            tried = data.changed(*settings) if fixed.isdisjoint(s.field for s in settings) else None
            if tried and fits(tried):
                data = tried
                fields = {s.field for s in settings}
                chosen = [*(c for c in chosen if c.field not in fields), *settings]
                break
    return data, chosen


_Candidate = tuple[list[Setting], Callable[[ReadData], bool]]
"""Settings, and whether the data that was read with them is the better for it."""


def _recognised(config: Config) -> Iterator[Setting]:
    manifest = getattr(config.data.reader, "manifest", None)
    if manifest:
        yield Setting("data.reader.manifest", manifest, "this table lists the files and their identities")


def _unknown_words(data: ReadData) -> Iterator[_Candidate]:
    """Words for splits, roles and modalities that the reader does not know; a row may have two of them."""
    roles: Counter[str] = Counter()
    modalities: Counter[str] = Counter()
    for record in data.records:
        for column, word in _UNKNOWN.findall(record.problem or ""):
            (modalities if column == "modality" else roles)[word] += 1
    settings = []
    if roles:
        told = {word: _rule(word, count, len(data.records)) for word, count in roles.items()}
        value = {**_roles(data.config), **{word: rule for word, (rule, _) in told.items()}}
        settings.append(Setting("data.reader.roles", value, "; ".join(why for _, why in told.values())))
    if modalities:
        reader = data.config.data.reader
        plain = getattr(reader, "modality", PHOTO).value
        names = {k: m.value for k, m in getattr(reader, "modality_names", {}).items()}
        words = ", ".join(f"{word!r} ({count} rows)" for word, count in modalities.items())
        why = f"no known modality: {words}; taken as {plain}"
        settings.append(
            Setting("data.reader.modality_names", {**names, **dict.fromkeys(modalities, plain)}, why)
        )
    if settings:
        before = len(data.usable)
        yield settings, lambda tried: len(tried.usable) > before


def _rule(word: str, count: int, rows: int) -> tuple[dict[str, Any], str]:
    """What an unknown word for a split or role is taken as, and why."""
    name = f"{word!r} ({count} rows)"
    if count > _HALF * rows:
        return {"split": None}, f"{name} is no known split: whole identities are cut into train and test"
    if word.lower() in _GALLERY_WORDS:
        return {"split": "test", "roles": ["gallery"]}, f"{name} is taken as part of the gallery"
    return {"split": "test", "roles": ["query"]}, f"{name} is no known split or role: taken as queries"


def _roles(config: Config) -> dict[str, Any]:
    """The words for roles that the configuration has already."""
    return {k: r.model_dump(mode="json") for k, r in getattr(config.data.reader, "roles", {}).items()}


def _one_split(data: ReadData) -> Iterator[_Candidate]:
    """A set of which every row is in one split is cut by identities."""
    if len(data.splits) != 1:
        return
    (split,) = data.splits
    root = expand(str(getattr(data.config.data.reader, "path", "")), "data.reader.path")
    folders = {file_name(f).lower() for f in visible(storage.list_folders(root))}
    roles = {role for r in data.usable for role in r.labels.roles or ()}
    own = [k for k, r in KNOWN_ROLES.items() if r.split == split]
    named = [f for f in folders if (rule := KNOWN_ROLES.get(f) or spelled_role(f)) and rule.split == split]
    words = sorted(named) or [w for w in own if w in {split, *roles}]
    value = {**_roles(data.config), **{word: {"split": None} for word in words}}
    why = (
        f"all rows are {split}: here {', '.join(words)} stands for no split, and whole identities are cut "
        "into train and test (test_fraction)"
    )
    yield [Setting("data.reader.roles", value, why)], lambda tried: len(tried.splits) > 1


def _texts(data: ReadData) -> Iterator[_Candidate]:
    """A JSON file beside the pictures that has sentences by identity."""
    reader = data.config.data.reader
    if getattr(reader, "texts", None):
        return
    root = expand(str(getattr(reader, "path", "")), "data.reader.path")
    before = sum(bool(r.captions) for r in data.usable)
    for uri in visible(storage.list_files(root, ".json"))[:_TEXTS]:
        name = file_name(uri)
        if name != CAPTIONS:
            setting = Setting("data.reader.texts", name, "this file describes identities in sentences")
            yield [setting], lambda tried: sum(bool(r.captions) for r in tried.usable) > before


def _cameras(data: ReadData) -> Iterator[_Candidate]:
    """Cameras that every file name tells."""
    usable = data.usable
    if not usable or any(r.labels.camid is not None for r in usable):
        return

    def tells(tried: ReadData) -> bool:
        cameras = [r.labels.camid for r in tried.usable]
        return None not in cameras and len(set(cameras)) < len(cameras)

    for pattern in CAMERA_PATTERNS:
        yield [Setting("data.reader.camera_pattern", pattern, "file names tell the camera")], tells


def _seed(data: ReadData) -> Iterator[_Candidate]:
    """A cut that leaves someone to find: an identity with two captures among those tested."""
    if data.splits.keys() != {"train", "test"} or _findable(data):
        return
    uncut = data.changed(Setting("data.reader.test_fraction", 0.0))
    if uncut is None or uncut.splits == data.splits:
        return  # the labels say who is tested
    for seed in range(1, _SEEDS):
        why = "with this cut an identity of the test split has two captures, so that one can find the other"
        yield [Setting("data.reader.split_seed", seed, why)], _findable


def _findable(data: ReadData) -> bool:
    captures = Counter(r.labels.pid for r in data.usable if r.labels.split == "test")
    return any(count > 1 for count in captures.values())


_STEPS: tuple[Callable[[ReadData], Iterator[_Candidate]], ...] = (
    _unknown_words,
    _one_split,
    _texts,
    _cameras,
    _seed,
)
