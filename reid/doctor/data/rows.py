"""Rows that a build would reject: the reader's problems, broken labels, repeated ids."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from reid.data.shards import schema
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding

KINDS = 10
"""Kinds of problems that are told one by one."""
_REMEDY = "correct or remove them; a build sets such rows aside"
_EMPTY_CAPTION = "an empty caption"
_Fault = tuple[str, str]
"""(what is wrong, the file)."""
_VARIES = re.compile(r"'[^']*'|\S*/\S*|<[^>]*>|[\w.-]*\d[\w.-]*")


def check_rows(entries: Sequence[ExaminedSample]) -> tuple[list[int], list[Finding]]:
    """Positions of the usable entries, and what is wrong with the others, each kind of problem once."""
    usable: list[int] = []
    problems: dict[str, list[_Fault]] = {}
    empty: list[str] = []
    twice: list[str] = []
    files: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for position, entry in enumerate(entries):
        wrong = [entry.problem] if entry.problem else schema.validate(entry.sample)
        if _EMPTY_CAPTION in wrong:
            empty.append(entry.name)
            files["empty"].append(entry.file())
        faults = [w for w in wrong if w != _EMPTY_CAPTION]
        for problem in faults:
            text = problem if entry.problem else f"{entry.name}: {problem}"
            problems.setdefault(_kind(problem), []).append((text, entry.file()))
        if not wrong and entry.name in seen:
            twice.append(entry.name)
            files["twice"].append(entry.file())
        elif not wrong:
            usable.append(position)
        seen.add(entry.name)
    findings = [_problem(faults) for faults in list(problems.values())[:KINDS]]
    more = [fault for faults in list(problems.values())[KINDS:] for fault in faults]
    if more:
        what = f"Rows with problems of {len(problems) - KINDS} more kinds: {len(more)}."
        where = tuple(file for _, file in more)
        findings.append(Finding("error", "unusable-row", what, more[0][0], _REMEDY, len(more), where))
    if empty:
        what, where = f"Rows with an empty caption: {len(empty)}.", tuple(files["empty"])
        remedy = "write one, or drop the caption"
        findings.append(Finding("error", "empty-caption", what, empty[0], remedy, len(empty), where))
    if twice:
        what = f"Sample ids that occur more than once: {len(set(twice))}; rows to be set aside: {len(twice)}."
        name, count = Counter(twice).most_common(1)[0]
        example, where = f"{name!r} occurs {count + 1} times", tuple(files["twice"])
        remedy = "make the names unique"
        findings.append(Finding("error", "duplicate-sample-id", what, example, remedy, len(twice), where))
    return usable, findings


def _problem(faults: list[_Fault]) -> Finding:
    """Problems of one kind. Our messages say what is wrong, then after a semicolon what to do."""
    texts = [text for text, _ in faults]
    gist, *rest = texts[0].split("; ")
    return Finding(
        "error",
        "unusable-row",
        f"{len(texts)} {'rows' if len(texts) > 1 else 'row'} would be set aside: {_shown(gist)}",
        texts[0],
        f"{rest[0].rstrip('.')}; a build sets such rows aside" if len(rest) == 1 else _REMEDY,
        len(texts),
        tuple(file for _, file in faults),
    )


def _kind(problem: str) -> str:
    """The problem without names and numbers."""
    return _VARIES.sub("…", problem)


def _shown(problem: str) -> str:
    """The gist: what follows the file or sample that a message begins with."""
    place, colon, gist = problem.partition(": ")
    return (gist if colon and not re.search(r"\s", place) else problem).rstrip(".") + "."
