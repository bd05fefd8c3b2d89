"""The summary of a build: why rows were rejected, the speed of each stage, and what was regenerated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reid.data.shards.manifest import Shard

_LONGEST = 90


@dataclass(frozen=True)
class QuarantineReason:
    """The rows that one stage rejected for one kind of reason, with the first of them."""

    stage: str
    reason: str
    count: int
    example: str

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def reason_table(rows: Iterable[Mapping[str, Any]]) -> list[QuarantineReason]:
    """Quarantined rows by stage and kind of reason, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row in rows:
        kind = str(row["stage"]), reason_class(row)
        counts[kind] += 1
        examples.setdefault(kind, f"{row['sample_id']}: {row['reason']}")
    return [QuarantineReason(*kind, count, examples[kind]) for kind, count in counts.most_common()]


def reason_class(row: Mapping[str, Any]) -> str:
    """A reason without its details: names, files, numbers, text in brackets."""
    text = str(row["reason"])
    for name in sorted([*(row.get("files") or ()), str(row["sample_id"])], key=len, reverse=True):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)(: )?", lambda m: "" if m[1] else "…", text)
    text = re.sub(r"\s*\([^()]*\)", "", text)
    text = re.sub(r"'[^']*'", "…", text)
    text = re.sub(r"\S*[/\\]\S+: ", "", text)  # a path that is not among the row's files
    text = re.sub(r"\d+(?:[.,x]\d+)*", "#", text)
    return text.strip(" :.;")[:_LONGEST]


def reason_lines(table: Sequence[QuarantineReason], most: int | None = None) -> list[str]:
    """The table for a terminal, with the `most` frequent rows."""
    if not table:
        return []
    shown = table[:most]
    stage = max(len("stage"), *(len(r.stage) for r in shown))
    reason = max(len("reason"), *(len(r.reason) for r in shown))
    lines = [f"{'stage':<{stage}}  {'rows':>6}  {'reason':<{reason}}  example"]
    lines += [f"{r.stage:<{stage}}  {r.count:>6}  {r.reason:<{reason}}  {r.example}" for r in shown]
    if len(table) > len(shown):
        lines.append(f"… and {len(table) - len(shown)} more kinds, in quarantine.parquet")
    return lines


def first_bad(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first reason."""
    return str(rows[0]["reason"]) if rows else "none"


@dataclass
class BuildWork:
    """What the shards that one call built add up to: no shard is kept for it."""

    seconds: Counter[str] = field(default_factory=Counter)
    """Of one worker, by stage."""
    worked: Counter[str] = field(default_factory=Counter)
    """Rows, likewise."""
    regenerated: Counter[str] = field(default_factory=Counter)
    """Shards that used rows of earlier ones and in which a target was made, by target."""
    kept: Counter[str] = field(default_factory=Counter)
    """Likewise, and was taken as it was; "read": their rows."""

    def add(self, shard: Shard) -> None:
        """Count one more."""
        self.seconds.update(shard.seconds)
        self.worked.update(shard.worked)
        if shard.donor is not None:
            made = [t for t in shard.made if t not in shard.kept and shard.worked.get(t)]
            self.regenerated.update([*made, *(["read again"] if "read" in shard.worked else [])])
            self.kept.update([*shard.kept, "read"])

    @property
    def throughput(self) -> dict[str, float]:
        """Stage -> rows a second of one worker."""
        rows, seconds = self.worked, self.seconds
        return {name: rows[name] / seconds[name] for name in rows if rows[name] and seconds[name] > 0}

    def lines(self) -> list[str]:
        """What was done, for a terminal."""
        return [line for line in (self._refreshed_line(), throughput_line(self.throughput)) if line]

    def _refreshed_line(self) -> str:
        """ "sketch regenerated in 3 shards; nir, read kept"; "" when all was read from raw files."""
        if not self.kept:
            return ""
        made = self.regenerated
        again = [f"{t} regenerated in {_shards(n)}" for t, n in made.items() if t != "read again"]
        if retried := made["read again"]:
            again.append(f"rows set aside before were tried again in {_shards(retried)}")
        return "; ".join([*again, f"{', '.join(self.kept)} kept"])


def throughput_line(rates: Mapping[str, float]) -> str:
    """For a terminal; "" when nothing was measured."""
    listed = ", ".join(
        f"{name} {rate:,.0f}" if rate >= 10 else f"{name} {rate:.2g}" for name, rate in rates.items()
    )
    return f"rows/s a worker: {listed}" if listed else ""


def caption_line(captions: Mapping[str, int]) -> str:
    """The counts of generated captions for a terminal; "" when none was made."""
    if not captions.get("made"):
        return ""
    listed = [f"{captions[name]} {text}" for name, text in _CAPTIONS if captions.get(name)]
    found = {n.removeprefix("because "): k for n, k in captions.items() if n.startswith("because ")}
    why = ", ".join(f"{reason} {count}" for reason, count in found.items())
    return f"captions: {', '.join(listed)}" + (f" (found: {why})" if why else "")


_CAPTIONS = (
    ("made", "made"),
    ("good", "good"),
    ("kept", "kept though bad"),
    ("again", "requested again"),
    ("dropped", "dropped"),
)


def _shards(count: int) -> str:
    return f"{count} shard" if count == 1 else f"{count} shards"
