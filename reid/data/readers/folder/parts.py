"""What the folder tree and the manifest have in common: paths, names, and the parts they yield."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field

import pydantic_core

from reid import storage
from reid.data.labels import tidy
from reid.data.readers.folder.config import KNOWN_ROLES, Config, RoleRule, spelled_role
from reid.data.readers.folder.modality_words import ModalityWords
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import contents, expand, fill_variables
from reid.errors import DataError
from reid.modality import PHOTO, Modality

LAYOUT = """Expected one of
  <path>/<identity>/<files>     (modality sub-folders or suffixes: nir/0001.jpg or 0001_nir.jpg)
  <path>/<train|val|test|query|gallery>/<identity>/<files>
  <path>/ with names that tell the identity (config: data.reader.identity_pattern)
  <path>/imgs/ laid out as one of these, with imgs-nir, imgs-tir, imgs-ir, imgs-sketch or masks beside it:
                                the same paths, each file with its own suffix; captions.json {path: [text]}
  <path>/<manifest> with the columns file,pid and more (config: data.reader.manifest)"""


@dataclass(frozen=True)
class FilePart:
    """One file or caption. Parts of equal `sample` become one record."""

    sample: str
    where: str
    identity: str = ""
    split: str | None = None
    roles: tuple[str, ...] | None = None
    camera: str | None = None
    modality: Modality = PHOTO
    uri: str | None = None
    caption: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    is_mask: bool = False
    """The file is the capture's mask, not a picture of `modality`."""


def packed_part(part: FilePart) -> bytes:
    """A part as JSON.

    >>> unpacked_part(packed_part(FilePart("a", "row 1", roles=("query",)))).roles
    ('query',)
    """
    tree = {name: value for name, value in vars(part).items() if value}
    try:
        return pydantic_core.to_json(tree)
    except ValueError:  # a text that is no Unicode: half of a pair
        return json.dumps(tree, separators=(",", ":")).encode()


def unpacked_part(text: bytes) -> FilePart:
    """The inverse of `packed_part`."""
    try:
        tree = pydantic_core.from_json(text)
    except ValueError:
        tree = json.loads(text)
    tree = {"sample": "", "where": "", **tree, "modality": Modality(tree["modality"])}
    if "roles" in tree:
        tree["roles"] = tuple(tree["roles"])
    return FilePart(**tree)


class FolderSource:
    """A root folder and the words with which its files are described."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = expand(config.path, "data.reader.path")
        self.walk = storage.Walk(self.root, sample_tree.SUFFIXES)
        self.rules: dict[str, RoleRule] = KNOWN_ROLES | {
            tidy(k).casefold(): r for k, r in config.roles.items()
        }
        self.words = ModalityWords(config)
        self.modalities = self.words.known
        self.notes: list[str] = []
        """What was taken otherwise than written, for `Reader.notes`."""

    def rule(self, word: str) -> RoleRule | None:
        """What a word for a split or role stands for, in the configuration or as another usual spelling."""
        return self.rules.get(tidy(word).casefold()) or spelled_role(word)

    def camera(self, relative: str) -> str | None:
        """The camera that `camera_pattern` finds in a path."""
        return _first_group(self.config.camera_pattern, relative)

    def identity(self, relative: str) -> str | None:
        """The identity that `identity_pattern` finds in a path."""
        return _first_group(self.config.identity_pattern, relative)

    def uri(self, file: str) -> str:
        """A manifest's file: relative to the root unless it is absolute."""
        absolute = storage.is_remote(file) or file.startswith("/")
        return file if absolute else storage.join(self.root, posixpath.normpath(file))

    def beside(self, file: str, key: str) -> str:
        """A configured file, relative to the root. Raises DataError if it is missing."""
        uri = self.uri(fill_variables(file, key))
        if not storage.exists(uri):
            raise DataError(f"{key}: no such file: {uri}. Found: {contents(self.root)}.\n{LAYOUT}")
        return uri


def _first_group(pattern: str | None, relative: str) -> str | None:
    match = re.search(pattern, relative) if pattern else None
    return match[1] if match else None
