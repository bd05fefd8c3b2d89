"""Lists beside own pictures that name files and identities, but are not what the doctor reads."""

from __future__ import annotations

from reid.doctor.data.layout import Match
from reid.doctor.finding import Finding


def check_lists(match: Match) -> list[Finding]:
    """Lists that cannot be read, and those besides the one that is read."""
    return [*_refused(match), *_others(match)]


def _refused(match: Match) -> list[Finding]:
    return [
        Finding(
            "error",
            "refused-list",
            f"{one.table} names files and identities, but cannot be read; it is left out here.",
            one.why.partition("\n")[0],
            "correct it, or move it away if it does not describe these pictures",
            1,
        )
        for one in match.passed
    ]


def _others(match: Match) -> list[Finding]:
    if not match.others:
        return []
    read = getattr(match.config.data.reader, "manifest", None)
    return [
        Finding(
            "warning",
            "several-lists",
            f"{len(match.others) + 1} lists name files and identities; only {read} is read.",
            ", ".join(match.others),
            f"if another one counts, add data.reader.manifest={match.others[0]}",
            len(match.others),
        )
    ]
