"""Folder per identity: what the paths alone tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reid import storage
from reid.data.readers.folder.captions import caption_parts
from reid.data.readers.folder.parts import LAYOUT, FilePart, FolderSource
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import file_name, visible
from reid.errors import DataError
from reid.modality import Modality


def tree_parts(source: FolderSource) -> list[FilePart]:
    """A part for every picture below the root, in sorted order; other files are passed over.

    A folder `imgs` at the root makes it a tree of parallel folders: imgs-sketch, masks, … hold the same
    paths. Raises DataError when split folders stand beside identity folders.
    """
    imgs = storage.join(source.root, sample_tree.FOLDERS[Modality.RGB])
    if not storage.exists(imgs):
        return _parts(source, source.root)
    parts = _parts(source, imgs)
    known = {part.sample for part in parts}
    for folder in visible(storage.list_folders(source.root)):
        name = file_name(folder)
        modality = sample_tree.modality_of(name, source.config.infrared)
        if folder == imgs or (modality is None and name != sample_tree.MASKS):
            continue
        for part in _parts(source, folder, modality or source.config.modality):
            if name == sample_tree.MASKS:
                part = _mask(part, known)
            parts.append(part)
    return [*parts, *caption_parts(source, parts)]


def _mask(part: FilePart, known: set[str]) -> FilePart:
    if part.sample in known or part.problem:
        return replace(part, is_mask=True)
    problem = f"{part.uri}: a mask without a picture of its path below imgs; rename or remove it."
    return replace(part, sample=f"masks/{part.sample}", is_mask=True, problem=problem)


@dataclass(frozen=True)
class _File:
    relative: str
    uri: str
    sample: str
    above: list[str]
    named: str
    problem: str | None = None


def _parts(source: FolderSource, root: str, only: Modality | None = None) -> list[FilePart]:
    depth = 2 if _has_splits(source, root) else 1
    files = [_file(source, root, depth, uri) for uri in sorted(_walk(root))]
    # Names that the configuration gives come first: VIS_1.png, not RGB_1.png, if VIS is what it calls rgb.
    files.sort(key=lambda f: f.named not in source.first)
    taken: set[tuple[str, Modality]] = set()
    parts = []
    for file in files:
        if file.problem:
            parts.append(FilePart(sample=file.relative, where=file.relative, problem=file.problem))
            continue
        rule = source.rules[file.above[0].lower()] if depth == 2 else None
        modality = only or (rule.modality if rule else None) or source.modalities.get(file.named)
        modality = modality or source.config.modality
        sample = file.sample
        if (sample, modality) in taken:
            sample = file.relative  # a.jpg and a.png: two pictures, not one
        taken.add((sample, modality))
        part = FilePart(
            sample=sample,
            where=file.relative,
            identity=file.above[-1],
            split=rule.split if rule else None,
            roles=rule.roles if rule else None,
            camera=source.camera(file.relative),
            modality=modality,
            uri=file.uri,
        )
        parts.append(part)
    return sorted(parts, key=lambda p: p.where)


def _file(source: FolderSource, root: str, depth: int, uri: str) -> _File:
    relative = uri.removeprefix(root).strip("/")
    steps = relative.split("/")
    above, below = steps[:depth], steps[depth:]
    if not below:
        problem = f"{uri}: lies outside any identity folder; move it into its <identity>/."
        return _File(relative, uri, relative, above, "", problem)
    stem, named = _split_modality(below, source.modalities)
    return _File(relative, uri, "/".join([*above, *stem]), above, named)


def _has_splits(source: FolderSource, root: str) -> bool:
    top = [file_name(f) for f in visible(storage.list_folders(root))]
    splits = [name for name in top if name.lower() in source.rules]
    others = sorted(set(top) - set(splits))
    if splits and others:
        raise DataError(
            f"{root}: split folders ({', '.join(splits)}) beside others "
            f"({', '.join(others[:8])}). Move the others away, "
            f"or name them in data.reader.roles.\n{LAYOUT}"
        )
    return bool(splits)


def _walk(folder: str) -> Iterator[str]:
    for uri in visible(storage.list_files(folder)):
        if file_name(uri).rpartition(".")[2].lower() in sample_tree.SUFFIXES:
            yield uri
    for child in visible(storage.list_folders(folder)):
        yield from _walk(child)


def _split_modality(path: list[str], modalities: dict[str, Modality]) -> tuple[list[str], str]:
    """A path below an identity, without extension and modality name; and that name, lower case or ""."""
    *folders, name = path
    stem = name.rpartition(".")[0]
    visual = {word for word, modality in modalities.items() if modality.is_visual}
    found = ""
    for i, folder in enumerate(folders):
        if folder.lower() in visual:
            found = folder.lower()
            folders = folders[:i] + folders[i + 1 :]
            break
    if not found and stem.lower() in visual:  # <capture>/nir.png
        return folders, stem.lower()
    for pattern in (r"(?P<rest>.+)[_.-](?P<word>[^_.-]+)", r"(?P<word>[^_.-]+)[_.-](?P<rest>.+)"):
        match = re.fullmatch(pattern, stem)
        word = match["word"].lower() if match else ""
        if match and word in visual and (not found or modalities[found] is modalities[word]):
            return [*folders, match["rest"]], found or word
    return [*folders, stem], found
