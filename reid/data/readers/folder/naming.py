"""Identities and cameras of parts: one spelling each, words for nothing told, numbers kept."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from reid.data.labels import both, is_nothing, tidy, whole_number
from reid.data.readers.folder.parts import FilePart

_MOST_NOTES = 8
_SHORTENED = re.compile(r"-?[0-9]([.,][0-9]+[eE]\+?|[eE]\+)[0-9]+")


class Spellings:
    """How labels were spelled, to tell which were taken for one: a first spelling each, and others if any."""

    def __init__(self) -> None:
        self._first: dict[str, dict[str, str]] = {"identities": {}, "cameras": {}}
        self._others: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, what: str, label: str, written: str) -> None:
        """A label, and as it was written."""
        first = self._first[what].setdefault(label, written)
        if label and written != first:
            self._others[what, label] |= {first, written}

    def notes(self) -> list[str]:
        """A line for each label that was spelled in several ways."""
        return [
            f"The {what} {both(*sorted(spelled)[:2])} are read as one; rename one if they are two"
            for (what, _), spelled in self._others.items()
        ]


def tidied(parts: Iterable[FilePart], spellings: Spellings) -> Iterator[FilePart]:
    """Parts with tidy identities, cameras and sample ids; how they were spelled is added to `spellings`.

    An identity that is a word for nothing becomes none, with the problem that says so.
    """
    for part in parts:
        identity, camera, problem = tidy(part.identity), tidy(part.camera or ""), part.problem
        if part.identity and is_nothing(identity, unknown=True):
            remedy = "rename it if it is one"
            problem = problem or f"{part.where}: its identity {part.identity!r} stands for nobody; {remedy}."
            identity = ""
        if is_nothing(camera, unknown=True):
            camera = ""
        spellings.add("identities", identity, part.identity)
        spellings.add("cameras", camera, part.camera or "")
        sample = tidy(part.sample)
        yield replace(part, sample=sample, identity=identity, camera=camera or None, problem=problem)


def numbered(names: Collection[str], digits: int) -> dict[str, int]:
    """Names that are all whole numbers are those; else they are counted in sorted order."""
    numbers = {name: number for name in names if (number := whole_number(name)) is not None}
    if len(numbers) == len(names) and all(abs(n) < 10**digits for n in numbers.values()):
        return numbers
    return {name: i for i, name in enumerate(sorted(names))}


def doubtful_numbers(identities: Iterable[str], cameras: Iterable[str]) -> list[str]:
    """Notes on labels that may not be what they seem: numbers that a spreadsheet shortened, cameras below 0.

    >>> doubtful_numbers(["1.23E+11", "7"], ["-1", "2"])
    ["The identity '1.23E+11' looks like a number that ...", "The camera '-1' is read as a camera; ..."]
    """
    notes = [
        f"The identity {one!r} looks like a number that a spreadsheet shortened, so that several may have "
        "become one; save the column as text"
        for one in sorted(identities)
        if _SHORTENED.fullmatch(one)
    ]
    below = [camera for camera in sorted(cameras) if (whole_number(camera) or 0) < 0]
    notes += [
        f"The camera {one!r} is read as a camera; leave it out where it stands for an unknown one"
        for one in below
    ]
    return notes[:_MOST_NOTES]
