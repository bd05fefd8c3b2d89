"""Folder per identity: what the paths alone tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reid import storage
from reid.data.files import file_name, visible
from reid.data.readers.folder.parts import LAYOUT, Part, Source
from reid.errors import DataError
from reid.modality import Modality

_IMAGE_SUFFIXES = frozenset(("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"))


def tree_parts(source: Source) -> Iterator[Part]:
    """A part for every picture below the root, in sorted order; other files are passed over.

    Raises DataError when split folders stand beside identity folders.
    """
    depth = 2 if _has_splits(source) else 1
    taken: set[tuple[str, Modality]] = set()
    for uri in sorted(_walk(source.root)):
        relative = uri.removeprefix(source.root).strip("/")
        steps = relative.split("/")
        above, below = steps[:depth], steps[depth:]
        if not below:
            problem = f"{uri}: lies outside any identity folder; move it into its <identity>/."
            yield Part(sample=relative, where=relative, problem=problem)
            continue
        rule = source.rules[above[0].lower()] if depth == 2 else None
        stem, named = _split_modality(below, source.modalities)
        modality = (rule.modality if rule else None) or named or source.config.modality
        sample = "/".join([*above, *stem])
        if (sample, modality) in taken:
            sample = relative  # a.jpg and a.png: two pictures, not one
        taken.add((sample, modality))
        yield Part(
            sample=sample,
            where=relative,
            identity=above[-1],
            split=rule.split if rule else None,
            roles=rule.roles if rule else None,
            camera=source.camera(relative),
            modality=modality,
            uri=uri,
        )


def _has_splits(source: Source) -> bool:
    top = [file_name(f) for f in visible(storage.list_folders(source.root))]
    splits = [name for name in top if name.lower() in source.rules]
    others = sorted(set(top) - set(splits))
    if splits and others:
        raise DataError(
            f"{source.root}: split folders ({', '.join(splits)}) beside others "
            f"({', '.join(others[:8])}). Move the others away, "
            f"or name them in data.reader.roles.\n{LAYOUT}"
        )
    return bool(splits)


def _walk(folder: str) -> Iterator[str]:
    for uri in visible(storage.list_files(folder)):
        if file_name(uri).rpartition(".")[2].lower() in _IMAGE_SUFFIXES:
            yield uri
    for child in visible(storage.list_folders(folder)):
        yield from _walk(child)


def _split_modality(path: list[str], modalities: dict[str, Modality]) -> tuple[list[str], Modality | None]:
    """A path below an identity, without extension and modality name; and the modality."""
    *folders, name = path
    stem = name.rpartition(".")[0]
    found = None
    for i, folder in enumerate(folders):
        if folder.lower() in modalities:
            found = modalities[folder.lower()]
            folders = folders[:i] + folders[i + 1 :]
            break
    match = re.fullmatch(r"(.+)[_.-]([^_.-]+)", stem)
    named = modalities.get(match[2].lower()) if match else None
    if match and named and found in (None, named):
        stem, found = match[1], named
    return [*folders, stem], found
