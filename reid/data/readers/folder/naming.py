"""Identities and cameras of parts: one spelling each, words for nothing told, numbers kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace

from reid.data.readers.folder.parts import FilePart
from reid.labels import both, is_nothing, tidy, whole_number


def tidied(parts: Iterable[FilePart]) -> tuple[list[FilePart], list[str]]:
    """Parts with tidy identities, cameras and sample ids; and which spellings were taken for one.

    An identity that is a word for nothing becomes none, with the problem that says so.
    """
    found: list[FilePart] = []
    spellings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for part in parts:
        identity, camera, problem = tidy(part.identity), tidy(part.camera or ""), part.problem
        if part.identity and is_nothing(identity, unknown=True):
            remedy = "rename it if it is one"
            problem = problem or f"{part.where}: its identity {part.identity!r} stands for nobody; {remedy}."
            identity = ""
        if is_nothing(camera, unknown=True):
            camera = ""
        spellings["identities", identity].add(part.identity)
        spellings["cameras", camera].add(part.camera or "")
        found.append(
            replace(part, sample=tidy(part.sample), identity=identity, camera=camera or None, problem=problem)
        )
    notes = [
        f"The {what} {both(*sorted(spelled)[:2])} are read as one; rename one if they are two"
        for (what, label), spelled in spellings.items()
        if label and len(spelled) > 1
    ]
    return found, notes


def numbered(names: Collection[str], digits: int) -> dict[str, int]:
    """Names that are all whole numbers are those; else they are counted in sorted order."""
    numbers = {name: number for name in names if (number := whole_number(name)) is not None}
    if len(numbers) == len(names) and all(abs(n) < 10**digits for n in numbers.values()):
        return numbers
    return {name: i for i, name in enumerate(sorted(names))}
