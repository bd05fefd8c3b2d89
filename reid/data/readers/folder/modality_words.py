"""Modalities by the words in a path: folders like nir/, files like 0001_nir.png, NIR_0001.png or nir.png."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reid.data.labels import tidy
from reid.data.readers.folder.config import Config
from reid.modality import FILE_WORDS, SHORT_FILE_WORDS, Modality

_AFFIXES = (r"(?P<rest>.+)[_.-](?P<word>[^_.-]+)", r"(?P<word>[^_.-]+)[_.-](?P<rest>.+)")


@dataclass(frozen=True)
class NamedPath:
    """A path without suffix and without the word of its modality."""

    steps: tuple[str, ...]
    word: str = ""
    """As the known words are spelled; empty where the path names no modality."""
    by_folder: bool = False


class ModalityWords:
    """The words that name modalities: our own names, those of the configuration, and usual ones."""

    def __init__(self, config: Config) -> None:
        usual = {w: config.infrared if w in ("ir", "infrared") else m for w, m in FILE_WORDS.items()}
        self.own = {m.value: m for m in Modality}
        self.configured = {_plain(word): m for word, m in config.modality_names.items()}
        self.known: dict[str, Modality] = {**self.own, **usual, **self.configured}
        self._visual = {word for word, m in self.known.items() if m.is_visual}
        self._doubtful = SHORT_FILE_WORDS - self.configured.keys()

    def rank(self, word: str) -> int:
        """Whose file is taken where two claim one modality of a capture: the smallest."""
        return 0 if word in self.configured else 1 if not word or word in self.own else 2

    def is_modality(self, name: str) -> bool:
        """Whether the name of a folder is that of a visual modality."""
        return _plain(name) in self._visual

    def split_all(self, paths: Mapping[str, Sequence[str]]) -> dict[str, NamedPath]:
        """Every path, given with its steps, without the word of its modality.

        A short word that may mean something else ("4-th.jpg") counts in a file's name where the same
        name lies there in another modality, or where most files name one.
        """
        found = {path: self._split(steps, self._visual) for path, steps in paths.items()}
        modalities: dict[tuple[str, ...], set[Modality | None]] = defaultdict(set)
        for one in found.values():
            modalities[one.steps].add(self.known.get(one.word))
        most = sum(bool(one.word) for one in found.values()) * 2 > len(found)
        sure = self._visual - self._doubtful
        for path, one in found.items():
            alone = len(modalities[one.steps]) == 1
            if one.word in self._doubtful and not one.by_folder and alone and not most:
                found[path] = self._split(paths[path], sure)
        return found

    def notes(self, words: Counter[str]) -> list[str]:
        """What to tell of the words, counted, that are neither ours nor the configuration's."""
        usual = [w for w in sorted(words) if w and w not in self.own and w not in self.configured]
        if not usual:
            return []
        read = ", ".join(f"{w} as {self.known[w].value} ({words[w]} pictures)" for w in usual)
        example = f"data.reader.modality_names='{{{usual[0]}: {self.known[usual[0]].value}}}'"
        return [
            f"Names of folders and files that are read as modalities: {read}; where that is wrong, set "
            f"another, e.g. {example}"
        ]

    def _split(self, path: Sequence[str], words: set[str]) -> NamedPath:
        *folders, name = path
        stem = name.rpartition(".")[0]
        found = ""
        for i, folder in enumerate(folders):
            if _plain(folder) in words:
                found = _plain(folder)
                folders = folders[:i] + folders[i + 1 :]
                break
        by_folder = bool(found)
        if not found and _plain(stem) in words:  # <capture>/nir.png
            return NamedPath(tuple(folders), _plain(stem))
        for pattern in _AFFIXES:
            match = re.fullmatch(pattern, stem)
            word = _plain(match["word"]) if match else ""
            if match and word in words and (not found or self.known[found] is self.known[word]):
                return NamedPath((*folders, match["rest"]), found or word, by_folder)
        return NamedPath((*folders, stem), found, by_folder)


def _plain(word: str) -> str:
    """A word in the spelling in which words are compared."""
    return tidy(word).casefold()
