"""Sentences beside pictures: captions.json by path, a file of texts by identity."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from reid import storage
from reid.data.readers.folder.parts import FilePart, FolderSource
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.captions import sentences
from reid.data.readers.shared.folders import file_name
from reid.data.readers.shared.text_files import read_json
from reid.errors import DataError
from reid.labels import Blanks, alike, both, difference, tidy
from reid.modality import Modality


def caption_parts(source: FolderSource, parts: list[FilePart]) -> list[FilePart]:
    """Sentences of captions.json, for the captures whose path it names.

    Raises DataError when it names none, or one in a letter case that two captures fit.
    """
    uri = storage.join(source.root, sample_tree.CAPTIONS)
    if not storage.exists(uri):
        return []
    content = read_json(uri)
    if not isinstance(content, dict):
        raise DataError(f"{uri}: expected {{path: [text, ...]}}, found {type(content).__name__}.")
    name, blanks = file_name(uri), Blanks()
    by_path = {_key(part.where): part for part in parts}
    folded: dict[str, list[FilePart]] = defaultdict(list)
    for key, part in by_path.items():
        folded[key.casefold()].append(part)
    found: list[FilePart] = []
    strangers: list[str] = []
    respelled: list[tuple[str, str]] = []
    for path, texts in content.items():
        exact = by_path.get(_key(path))
        fitting = [exact] if exact else folded.get(_key(path).casefold(), [])
        if len(fitting) > 1:
            pair = both(fitting[0].where, fitting[1].where)
            raise DataError(f"{uri}: {path!r} may be {pair}; spell it as the one that is meant.")
        if not fitting:
            strangers.append(path)
            continue
        (part,) = fitting
        if exact is None:
            respelled.append((path, part.where))
        for one in sentences(texts, f"{uri}: {path!r}", blanks):
            where = f"{name} {path!r}"
            found.append(replace(part, uri=None, caption=one["text"], where=where, modality=Modality.TEXT))
    if content and len(strangers) == len(content):
        raise DataError(
            f"{uri}: none of its {len(strangers)} paths is a picture below imgs (first: {strangers[0]!r})."
        )
    source.notes += blanks.notes(name)
    if respelled:
        pair = both(*respelled[0], " is ")
        source.notes.append(f"{name}: {len(respelled)} paths differ from the disk in letter case ({pair})")
    source.notes += unused(name, strangers, len(content), "picture below imgs")
    return found


def bare(path: str) -> str:
    """A picture's path below its folder, without suffix: how files of one capture are recognised."""
    folder, _, rest = path.partition("/")
    inner = rest if folder in {*sample_tree.FOLDERS.values(), sample_tree.INFRARED} else path
    return sample_tree.stem(inner)


def _key(path: str) -> str:
    return bare(unicodedata.normalize("NFC", path.replace("\\", "/")))


def identity_texts(source: FolderSource, identities: Collection[str]) -> dict[str, list[str]]:
    """Sentences of the configured file by identity.

    Raises DataError when no key is an identity, or one is but for letter case or number spelling.
    """
    if not source.config.texts:
        return {}
    uri = source.beside(source.config.texts, "data.reader.texts")
    tree = read_json(uri)
    names = _tidy_keys(tree, uri) if isinstance(tree, dict) else {}
    near = {alike(identity): identity for identity in identities}
    strangers = [name for name in names if name not in identities]
    for name in strangers:
        if (other := near.get(alike(name))) is not None:
            raise DataError(
                f"{uri}: the key and the identity {both(name, other)} {difference(name, other)}; "
                "spell them alike if they are one, or rename one."
            )
    if len(strangers) == len(names):
        raise DataError(
            f"{uri}: none of its keys is an identity here ({', '.join(sorted(identities))[:80]}); "
            "expected {identity: {text: ...}}."
        )
    blanks = Blanks()
    texts = {
        name: [one["text"] for one in sentences(tree[names[name]], f"{uri}: identity {name!r}", blanks)]
        for name in sorted(names.keys() & set(identities))
    }
    source.notes += blanks.notes(file_name(uri))
    source.notes += unused(file_name(uri), strangers, len(names), "identity here")
    return texts


def unused(name: str, strangers: list[str], count: int, what: str) -> list[str]:
    """A note on keys of a file that name nothing; none where there is no such key."""
    if not strangers:
        return []
    are = "is" if len(strangers) == 1 else "are"
    what = f"{len(strangers)} of {count} keys {are} no {what} (first: {strangers[0]!r})"
    return [f"{name}: {what}, and what they say is not used; correct the keys"]


def _tidy_keys(tree: dict[str, object], uri: str) -> dict[str, str]:
    """The keys by their tidy spelling. Raises DataError for two that are one."""
    names: dict[str, str] = {}
    for key in tree:
        other = names.setdefault(tidy(key), key)
        if other != key:
            raise DataError(f"{uri}: the keys {both(other, key)} are one identity; join their texts.")
    return names
