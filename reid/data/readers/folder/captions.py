"""Sentences beside pictures: captions.json by path, a file of texts by identity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from reid import storage
from reid.data.labels import Blanks, alike, both, difference, tidy
from reid.data.readers.folder.parts import FilePart, FolderSource
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.captions import sentences
from reid.data.readers.shared.folders import file_name
from reid.data.readers.shared.keys import match_keys, spellings, unused
from reid.data.readers.shared.text_files import read_json
from reid.errors import DataError
from reid.modality import Modality


def caption_parts(source: FolderSource, parts: list[FilePart]) -> list[FilePart]:
    """Sentences of captions.json, for the captures whose path it names.

    Raises DataError when it names none, or one in a letter case or without a suffix that two captures fit.
    """
    uri = storage.join(source.root, sample_tree.CAPTIONS)
    if not storage.exists(uri):
        return []
    content = read_json(uri)
    if not isinstance(content, dict):
        raise DataError(f"{uri}: expected {{path: [text, ...]}}, found {type(content).__name__}.")
    captures: dict[str, dict[str, FilePart]] = defaultdict(dict)
    for part in parts:
        for name in spellings(part.where):
            captures[name].setdefault(part.sample, part)
    named = {name: list(fitting.values()) for name, fitting in captures.items()}
    meant, notes = match_keys(content, named, file_name(uri), "picture below imgs")
    if content and not meant:
        first = next(iter(content))
        raise DataError(
            f"{uri}: none of its {len(content)} paths is a picture below imgs (first: {first!r})."
        )
    blanks, found = Blanks(), []
    for path, (part, *others) in meant.items():
        if others:  # a.jpg and a.png are two captures
            pair = both(part.where, others[0].where, " or ")
            raise DataError(f"{uri}: the key {path!r} may mean {pair}; give it the suffix of the one meant.")
        where = f"{file_name(uri)} {path!r}"
        for one in sentences(content[path], f"{uri}: {path!r}", blanks):
            found.append(replace(part, uri=None, caption=one["text"], where=where, modality=Modality.TEXT))
    source.notes += [*blanks.notes(file_name(uri)), *notes]
    return found


def identity_texts(source: FolderSource, identities: Collection[str]) -> dict[str, list[str]]:
    """Sentences of the configured file by identity.

    Raises DataError when no key is an identity, or one is but for letter case or number spelling.
    """
    if not source.config.texts:
        return {}
    uri = source.beside(source.config.texts, "data.reader.texts")
    tree = read_json(uri)
    names = _tidy_keys(tree, uri) if isinstance(tree, dict) else {}
    known = set(identities)
    near = {alike(identity): identity for identity in known}
    strangers = [name for name in names if name not in known]
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
        for name in sorted(names.keys() & known)
    }
    source.notes += blanks.notes(file_name(uri))
    source.notes += unused(file_name(uri), strangers, len(names), "identity here")
    return texts


def _tidy_keys(tree: dict[str, object], uri: str) -> dict[str, str]:
    """The keys by their tidy spelling. Raises DataError for two that are one."""
    names: dict[str, str] = {}
    for key in tree:
        other = names.setdefault(tidy(key), key)
        if other != key:
            raise DataError(f"{uri}: the keys {both(other, key)} are one identity; join their texts.")
    return names
