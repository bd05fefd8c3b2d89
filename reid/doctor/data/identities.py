"""Faults of the labels as a whole: identities, cameras, splits and modalities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from reid.data.shards.schema import SPLITS
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding, Level
from reid.modality import ORDER, Modality

Key = tuple[str, tuple[str, int]]
"""(split, identity)."""
_UNEVEN = 2
"""A modality with less than the fullest one's rows by this factor is told."""


def check_identities(entries: Sequence[ExaminedSample], camera_matters: bool) -> list[Finding]:
    """Findings about who was captured how often, where and in which split.

    `camera_matters`: the protocol asks for right answers from another camera than the query's.
    """
    groups: dict[Key, list[ExaminedSample]] = defaultdict(list)
    for entry in entries:
        groups[entry.split, entry.identity].append(entry)
    found = [
        _splits(entries),
        _overlap(groups),
        _validation_overlap(groups),
        _single(groups),
        *_cameras(entries, groups, camera_matters),
        *_modalities(entries, groups),
    ]
    return [f for f in found if f is not None]


def _splits(entries: Sequence[ExaminedSample]) -> Finding | None:
    there = {e.split for e in entries}
    lacking = [s for s in ("train", "test") if s not in there]
    if not lacking or not entries:
        return None
    without = {"train": "nothing can be trained", "test": "nothing can be evaluated or indexed"}
    return Finding(
        "warning",
        "empty-split",
        f"The split {' and '.join(lacking)} is empty: {'; '.join(without[s] for s in lacking)}.",
        f"all {len(entries)} rows are {', '.join(sorted(there))}",
        "name the split in the folders or in the manifest's split column, or let data.reader.test_fraction "
        "cut it",
        len(lacking),
    )


def _overlap(groups: dict[Key, list[ExaminedSample]]) -> Finding | None:
    train = {identity for split, identity in groups if split == "train"}
    shared = sorted({identity for split, identity in groups if split != "train"} & train)
    if not shared:
        return None
    identity = shared[0]
    names = [groups[s, identity][0].name for s in SPLITS if (s, identity) in groups]
    return Finding(
        "warning",
        "train-test-overlap",
        f"{len(shared)} of {len(train)} training identities occur in val or test, too: results will not "
        "speak of unseen identities.",
        f"{_who(identity)}: {' and '.join(names)}",
        "give each identity to one split, unless a closed set is meant",
        len(shared),
        tuple(groups[s, i][0].file() for i in shared for s in SPLITS if (s, i) in groups),
    )


def _validation_overlap(groups: dict[Key, list[ExaminedSample]]) -> Finding | None:
    """Identities of val that are in test; those in train are told as such."""
    split_of = {split: {identity for s, identity in groups if s == split} for split in SPLITS}
    shared = sorted((split_of["val"] & split_of["test"]) - split_of["train"])
    if not shared:
        return None
    identity = shared[0]
    names = [groups[s, identity][0].name for s in ("val", "test")]
    return Finding(
        "warning",
        "val-test-overlap",
        f"{len(shared)} of {len(split_of['val'])} validation identities occur in test, too: the model is "
        "chosen and its scores are calibrated on who is tested.",
        f"{_who(identity)}: {' and '.join(names)}",
        "give each identity to one split",
        len(shared),
        tuple(groups[s, i][0].file() for i in shared for s in ("val", "test")),
    )


def _single(groups: dict[Key, list[ExaminedSample]]) -> Finding | None:
    single = {key: found[0] for key, found in groups.items() if len(found) == 1}
    if not single:
        return None
    return Finding(
        "warning",
        "single-capture",
        f"{_identities(len(single))} one capture only ({_by_split(single)}): in training there is no "
        "positive pair, in test no other capture to find.",
        next(iter(single.values())).name,
        "capture more, or move them to the gallery as distractors",
        len(single),
        tuple(entry.file() for entry in single.values()),
    )


def _cameras(
    entries: Sequence[ExaminedSample], groups: dict[Key, list[ExaminedSample]], matters: bool
) -> list[Finding | None]:
    unknown = [e for e in entries if e.sample.labels.camid is None]
    if unknown and len(unknown) == len(entries):
        if not matters:
            return []
        return [
            Finding(
                "info",
                "no-cameras",
                "No camera is known: pictures of one camera count as right answers for each other.",
                unknown[0].name,
                "for own folders: data.reader.camera_pattern, or the manifest's camid column",
                len(unknown),
            )
        ]
    found: list[Finding | None] = []
    if unknown:
        found.append(
            Finding(
                "warning",
                "some-cameras-unknown",
                f"The camera of {len(unknown)} of {len(entries)} rows is unknown: for them nothing is left "
                "out as seen by the query's camera.",
                unknown[0].name,
                "complete the labels",
                len(unknown),
                tuple(entry.file() for entry in unknown),
            )
        )
    alone: dict[Key, ExaminedSample] = {}
    for key, mine in groups.items():
        cameras = {e.sample.labels.camid for e in mine}
        if len(mine) > 1 and len(cameras) == 1 and None not in cameras:
            alone[key] = mine[0]
    if alone:
        level: Level = "warning" if matters else "info"
        why = "no right answer from another camera" if matters else "the protocol does not ask for another"
        first = next(iter(alone.values()))
        found.append(
            Finding(
                level,
                "single-camera",
                f"{_identities(len(alone))} captures of one camera only ({_by_split(alone)}): {why}.",
                f"{_who(first.identity)}, camera {first.sample.labels.camid}: {first.name}",
                "add captures of other cameras, or check the camera labels",
                len(alone),
                tuple(entry.file() for entry in alone.values()),
            )
        )
    return found


def _modalities(
    entries: Sequence[ExaminedSample], groups: dict[Key, list[ExaminedSample]]
) -> list[Finding | None]:
    lacking: list[tuple[str, Modality, ExaminedSample]] = []
    uneven: list[str] = []
    incomplete: list[tuple[str, Modality, ExaminedSample]] = []
    for split in SPLITS:
        mine = [e for e in entries if e.split == split]
        counts = Counter(m for e in mine for m in e.sample.modalities)
        present = [m for m in ORDER if m in counts]
        for (where, _), same in groups.items():
            if where == split:
                seen = {m for e in same for m in e.sample.modalities}
                lacking += [(split, m, same[0]) for m in present if m not in seen]
        fullest = max(present, key=lambda m: counts[m], default=None)
        few = [m for m in present if fullest and counts[m] * _UNEVEN < counts[fullest]]
        if fullest and few:
            others = ", ".join(f"{m.value} {counts[m]}" for m in few)
            uneven.append(f"{split}: {others} against {fullest.value} {counts[fullest]}")
        aligned = sum(len(e.sample.images) > 1 for e in mine) * 2 > len(mine)
        if aligned:
            # Captures that are expected whole. Modalities of few rows (a sketch for some) are told as uneven.
            wanted = [m for m in present if m.is_visual and counts[m] * _UNEVEN > len(mine)]
            incomplete += [(split, m, e) for e in mine for m in wanted if m not in e.sample.images]
    return [_uneven(uneven), _lacking(lacking), _incomplete(incomplete)]


def _uneven(others: list[str]) -> Finding | None:
    if not others:
        return None
    return Finding(
        "warning",
        "modality-imbalance",
        "Some modalities have less than half of the rows of another one.",
        "; ".join(others),
        "capture or generate more (build.generate); results for a rare modality rest on few rows",
        len(others),
    )


def _lacking(found: list[tuple[str, Modality, ExaminedSample]]) -> Finding | None:
    if not found:
        return None
    split, modality, entry = found[0]
    who = {(s, e.identity) for s, _, e in found}
    return Finding(
        "warning",
        "identity-lacks-modality",
        f"Identities without any capture in a modality of their split: {len(who)} ({_by_modality(found)}).",
        f"{_who(entry.identity)} of {split} has no {modality.value}: {entry.name}",
        "capture or generate it (build.generate); across modalities such an identity has no right answer",
        len(who),
        tuple(dict.fromkeys(entry.file() for _, _, entry in found)),
    )


def _incomplete(found: list[tuple[str, Modality, ExaminedSample]]) -> Finding | None:
    if not found:
        return None
    _, modality, entry = found[0]
    rows = {(s, e.name) for s, _, e in found}
    return Finding(
        "warning",
        "incomplete-capture",
        f"Captures that lack a modality which most others have: {len(rows)} ({_by_modality(found)}).",
        f"{entry.name} has no {modality.value}",
        "look for the missing files, or for names that differ; the rest of such a capture is still used",
        len(rows),
        tuple(dict.fromkeys(entry.file() for _, _, entry in found)),
    )


def _by_modality(found: Sequence[tuple[str, Modality, ExaminedSample]]) -> str:
    counts = Counter((split, m) for split, m, _ in found)
    return ", ".join(f"{split} {m.value} {n}" for (split, m), n in sorted(counts.items()))


def _by_split(keys: Iterable[Key]) -> str:
    counts = Counter(split for split, _ in keys)
    return ", ".join(f"{split} {counts[split]}" for split in SPLITS if counts[split])


def _identities(number: int) -> str:
    return f"{number} identities have" if number > 1 else "1 identity has"


def _who(identity: tuple[str, int]) -> str:
    return f"identity {identity[1]}"
