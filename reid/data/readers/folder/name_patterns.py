"""Patterns for identities and cameras that the names of pictures seem to tell, proved on these names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reid.modality import FILE_WORDS, Modality

_SEPARATORS = "_-"
_CAMERA = re.compile(r"(?:c|cam|camera|kamera|cctv|view)-?\d{1,3}(?:s\d+)?", re.IGNORECASE)
_MODALITIES = frozenset({*FILE_WORDS, *(m.value for m in Modality)})
_FEWEST_CAPTURES = 2
_PLACES = 3


@dataclass(frozen=True)
class NamePattern:
    """What to set so that the reader takes labels from the names of files."""

    identity: str
    camera: str | None = None

    @property
    def settings(self) -> str:
        """As it is typed after a verb."""
        typed = f"data.reader.identity_pattern='{self.identity}'"
        return f"{typed} data.reader.camera_pattern='{self.camera}'" if self.camera else typed


def names_of_pictures(files: Sequence[str]) -> NamePattern | None:
    """The pattern by which every file's name begins with its identity; None where names do not look so.

    Args:
        files: paths of pictures below the data set's folder.

    >>> shots = [f"{pid}_c{camera}_{n}.jpg" for pid in ("anna", "ben") for camera in (1, 2) for n in (1, 2)]
    >>> names_of_pictures(shots).settings
    "data.reader.identity_pattern='([^/_]+)_[^/]*$' data.reader.camera_pattern='_c([0-9]+)'"
    """
    stems = [file.rpartition("/")[2].rpartition(".")[0] for file in files]
    for separator in _SEPARATORS:
        rows = [stem.split(separator) for stem in stems]
        if not rows or any(len(row) < 2 for row in rows):
            continue
        for place in range(min(_PLACES, min(map(len, rows)) - 1)):
            words = [row[place] for row in rows]
            if all(word.lower() in _MODALITIES for word in words):
                continue  # VIS_0001_1.jpg: the modality comes first
            if not _are_identities(words):
                break
            part = f"[^/{separator}]+"
            before = f"(?:^|/)(?:{part}{separator}){{{place}}}" if place else ""
            identity = f"{before}({part}){separator}[^/]*$"
            found = [match[1] for file in files if (match := re.search(identity, file))]
            if found == words:
                return NamePattern(identity, _camera(rows, separator, place))
    return None


def _are_identities(words: Sequence[str]) -> bool:
    """At least two, most of them with several pictures; no cameras, no modalities, no running numbers."""
    counted = Counter(words)
    repeated = sum(n >= _FEWEST_CAPTURES for n in counted.values())
    odd = all(_CAMERA.fullmatch(word) for word in counted) or any(w.lower() in _MODALITIES for w in counted)
    return len(counted) > 1 and repeated * 2 >= len(counted) and not odd


def _camera(rows: Sequence[Sequence[str]], separator: str, identity: int) -> str | None:
    """The pattern of the word that is a camera in every name, e.g. c2 or cam12."""
    for place in range(identity + 1, min(map(len, rows))):
        words = {row[place] for row in rows}
        if len(words) > 1 and all(_CAMERA.fullmatch(word) for word in words):
            prefixes = {re.sub(r"\d.*", "", word) for word in words}
            if len(prefixes) == 1:
                return f"{separator}{prefixes.pop()}([0-9]+)"
    return None
