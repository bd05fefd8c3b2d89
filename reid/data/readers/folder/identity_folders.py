"""Folder per identity: what the paths alone tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reid import storage
from reid.data.labels import tidy
from reid.data.readers.folder.captions import caption_parts
from reid.data.readers.folder.config import RoleRule
from reid.data.readers.folder.parts import FilePart, FolderSource
from reid.data.readers.folder.splits import split_folders
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import file_name, some
from reid.modality import Modality

_NO_IDENTITIES = {*sample_tree.FOLDERS.values(), sample_tree.INFRARED, sample_tree.MASKS}
_NO_CAPTURES = frozenset(
    ["mask", "masks", "seg", "segmentation", "segmentations", "thumb", "thumbs", "thumbnail", "thumbnails"]
)
"""Folders within an identity whose pictures are probably no captures."""


def tree_parts(source: FolderSource) -> list[FilePart]:
    """A part for every picture below the root, in sorted order; other files are passed over.

    A folder `imgs` at the root, in any letter case, makes it a tree of parallel folders: imgs-sketch, masks,
    … hold the same paths. Raises DataError when split folders stand beside identity folders.
    """
    top = source.walk.folders(source.root)
    name = sample_tree.PHOTOS
    exact = storage.join(source.root, name)  # may be a link to a folder beside it, which the walk leaves out
    imgs = exact if storage.exists(exact) else next((f for f in top if _plain_name(f) == name), None)
    if imgs is None:
        return [*_parts(source, source.root), *_broken(source)]
    parts = _parts(source, imgs)
    known = {part.sample for part in parts}
    unread = []
    for folder in top:
        name = _plain_name(folder)
        modality = sample_tree.modality_of(name, source.config.infrared)
        if folder == imgs:
            continue
        if modality is None and name != sample_tree.MASKS:
            if storage.Walk(folder, sample_tree.SUFFIXES).below(folder):  # its own: nothing is set aside here
                unread.append(file_name(folder))
            continue
        for part in _parts(source, folder, modality or source.config.modality):
            if name == sample_tree.MASKS:
                part = _mask(part, known)
            parts.append(part)
    if unread:
        read = ", ".join([*sample_tree.FOLDERS.values(), sample_tree.INFRARED, sample_tree.MASKS])
        source.notes.append(
            f"Folders with pictures beside {file_name(imgs)} that are not read: {some(unread)}; name them as "
            f"one of {read}, or move them away"
        )
    return [*parts, *caption_parts(source, parts), *_broken(source)]


def _plain_name(folder: str) -> str:
    return tidy(file_name(folder)).casefold()


def _broken(source: FolderSource) -> list[FilePart]:
    """A part for every picture that is there but cannot be read, so that the build sets it aside."""
    names = [(one.uri.removeprefix(source.root).strip("/"), one.problem) for one in source.walk.broken]
    return [FilePart(sample=name, where=name, problem=problem) for name, problem in names]


def _mask(part: FilePart, known: set[str]) -> FilePart:
    if part.sample in known or part.problem:
        return replace(part, is_mask=True)
    problem = f"{part.uri}: a mask without a picture of its path below imgs; rename or remove it."
    return replace(part, sample=f"masks/{part.sample}", is_mask=True, problem=problem)


@dataclass(frozen=True)
class _File:
    relative: str
    uri: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    identity: str
    rule: RoleRule | None
    problem: str | None = None


def _parts(source: FolderSource, root: str, only: Modality | None = None) -> list[FilePart]:
    splits = split_folders(source, root)
    if splits:
        # A split is walked alone: a query may be a link to the gallery's picture.
        uris = [uri for folder in splits for uri in source.walk.below(storage.join(root, folder))]
        uris += source.walk.files(root)
    else:
        uris = source.walk.below(root)
    files = [_file(source, root, splits, uri) for uri in sorted(uris)]
    parts = [
        FilePart(sample=file.relative, where=file.relative, problem=file.problem)
        for file in files
        if file.problem
    ]
    parts += _pictures(source, [file for file in files if not file.problem], only)
    if only is None and source.config.identity_pattern is None:
        source.notes += _empty_folders(source, root, splits, files)
    return sorted(parts, key=lambda p: p.where)


def _empty_folders(
    source: FolderSource, root: str, splits: Mapping[str, RoleRule], files: list[_File]
) -> list[str]:
    """What to tell of identity folders without any picture."""
    depth = 2 if splits else 1
    there = [*(file.uri for file in files), *(one.uri for one in source.walk.broken)]
    filled = {storage.join(root, *uri.removeprefix(root).strip("/").split("/")[:depth]) for uri in there}
    parents = [storage.join(root, split) for split in splits] or [root]
    empty = [folder for parent in parents for folder in source.walk.folders(parent) if folder not in filled]
    names = [folder.removeprefix(root).strip("/") for folder in empty]
    return [f"Identity folders without a picture: {some(names)}; fill or remove them"] if names else []


def _pictures(source: FolderSource, files: list[_File], only: Modality | None) -> list[FilePart]:
    named = source.words.split_all({file.uri: file.below for file in files})
    # Names that the configuration gives come first: VIS_1.png, not RGB_1.png, if VIS is what it calls rgb.
    files = sorted(files, key=lambda file: source.words.rank(named[file.uri].word))
    taken: dict[tuple[str, Modality], str] = {}
    rivals: list[tuple[str, str]] = []
    parts = []
    for file in files:
        steps, word = named[file.uri].steps, named[file.uri].word
        modality = only or (file.rule.modality if file.rule else None) or source.modalities.get(word)
        modality = modality or source.config.modality
        sample = "/".join([*file.above, *steps])
        if (sample, modality) in taken:
            if word and taken[sample, modality] != word:
                rivals.append((taken[sample, modality], word))
            sample = file.relative  # a.jpg and a.png: two pictures, not one
        taken[sample, modality] = word
        part = FilePart(
            sample=sample,
            where=file.relative,
            identity=file.identity,
            split=file.rule.split if file.rule else None,
            roles=file.rule.roles if file.rule else None,
            camera=source.camera(file.relative),
            modality=modality,
            uri=file.uri,
        )
        parts.append(part)
    source.notes += _doubtful_captures(files)
    if only is None:
        source.notes += source.words.notes(Counter(one.word for one in named.values()))
        source.notes += _rivals(source, rivals)
    return parts


def _doubtful_captures(files: list[_File]) -> list[str]:
    """What to tell of pictures within identities that are probably masks or small copies."""
    words = Counter(
        word for f in files for step in f.below[:-1] if (word := _plain_name(step)) in _NO_CAPTURES
    )
    if not words:
        return []
    counted = ", ".join(f"{word} ({n})" for word, n in sorted(words.items()))
    return [f"Pictures in these folders are read as captures: {counted}; move them away if they are none"]


def _rivals(source: FolderSource, rivals: list[tuple[str, str]]) -> list[str]:
    """What to tell where two words claim one modality of a capture."""
    notes = []
    for (first, word), n in sorted(Counter(rivals).items()):
        if first not in source.words.configured:
            modality = source.modalities[word].value
            notes.append(
                f"Captures with two pictures of {modality}, by the words {first or 'none'} and {word}: {n}, "
                f"where {word} is a capture of its own; to prefer {word}, set "
                f"data.reader.modality_names='{{{word}: {modality}}}'"
            )
    return notes


def _file(source: FolderSource, root: str, splits: Mapping[str, RoleRule], uri: str) -> _File:
    relative = uri.removeprefix(root).strip("/")
    steps = tuple(relative.split("/"))
    rule = splits.get(steps[0]) if splits and len(steps) > 1 else None
    by_pattern = source.config.identity_pattern is not None
    depth = (1 if splits else 0) + (0 if by_pattern else 1)
    above, below = steps[:depth], steps[depth:]
    problem, identity = None, ""
    if splits and rule is None:
        problem = f"{uri}: lies outside any split folder; move it into one of {', '.join(splits)}."
    elif by_pattern:
        identity = source.identity(relative) or ""
        if not identity:
            problem = (
                f"{uri}: data.reader.identity_pattern finds no identity; correct it or move the file away."
            )
    elif not below:
        problem = f"{uri}: lies outside any identity folder; move it into its <identity>/."
    elif _plain_name(above[-1]) in _NO_IDENTITIES:
        problem = (
            f"{uri}: {above[-1]} is no identity but a folder of parallel pictures, which belongs to the top: "
            "imgs/<split>/<identity> with imgs-nir, masks, ... beside imgs; move it there."
        )
    else:
        identity = above[-1]
    return _File(relative, uri, above, below, identity, rule, problem)
