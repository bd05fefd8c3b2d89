"""The results of an examination: findings about data, checks of a machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
Status = Literal["ok", "warn", "fail"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")
FILES_SHOWN, FILES_IN_JSON = 5, 100
"""Concerned files that a finding lists by default, for a person and for a program."""

ProgressBar = Callable[[str, int], Callable[[int], None]]
"""(what, how many) -> a function that counts finished ones: how the caller shows progress."""


def no_progress(what: str, total: int) -> Callable[[int], None]:
    """A progress display that shows nothing."""
    return lambda count: None


def fault_and_remedy(error: Exception) -> tuple[str, str]:
    """The first sentence of an error's message, and what follows it without its full stop: the remedy.

    >>> fault_and_remedy(ValueError("2 rows lack some, e.g. one of mine/7. Complete them."))
    ('2 rows lack some, e.g. one of mine/7.', 'Complete them')
    """
    fault, *rest = re.split(r"(?<!e\.g)\. ", str(error), maxsplit=1)
    return f"{fault.rstrip('.')}.", "".join(rest).rstrip(".")


@dataclass(frozen=True)
class Finding:
    """One kind of fault in a data set: how often it occurs, one example, and its remedy.

    An error makes rows unusable or labels contradict each other; a warning makes results worse or numbers
    misleading; an info is worth knowing.
    """

    level: Level
    code: str
    text: str
    example: str | None
    remedy: str
    count: int
    files: tuple[str, ...] = ()
    """All files that are concerned, or the names of samples that have none of their own."""

    def to_json(self, most: int = FILES_IN_JSON) -> dict[str, Any]:
        """For programs; `most` files at most, and how many there are in all."""
        return {**asdict(self), "files": list(self.files[:most]), "files_total": len(self.files)}

    def lines(self, most: int = FILES_SHOWN) -> list[str]:
        """For a person; `most` files at most."""
        shown = [f"{self.level}: {self.text} [{self.code}]"]
        if self.example:
            shown.append(_indented("for example: ", self.example))
        if len(self.files) > 1 or (self.files and self.files[0] not in f"{self.example} {self.text}"):
            shown += [_indented("file: ", file) for file in self.files[:most]]
            if len(self.files) > most:
                shown.append(_indented("", f"… {len(self.files)} files in all; --files N lists more"))
        return [*shown, _indented("remedy: ", self.remedy)]


@dataclass(frozen=True)
class Check:
    """One property of this machine, and what to do unless it is ok."""

    name: str
    status: Status
    text: str
    remedy: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person."""
        shown = [f"{self.status:4}  {self.name}: {self.text}"]
        return [*shown, _indented("remedy: ", self.remedy)] if self.remedy else shown


def _indented(word: str, text: str) -> str:
    return f"      {word}" + text.replace("\n", "\n      ")


def ordered(findings: list[Finding]) -> list[Finding]:
    """Errors first; within a level as found."""
    return sorted(findings, key=lambda f: LEVELS.index(f.level))
