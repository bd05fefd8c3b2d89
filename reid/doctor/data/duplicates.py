"""Pictures that occur more than once: files with equal bytes, and pictures that look the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, permutations

import numpy as np

from reid import storage
from reid.doctor.data.pictures import FLAT, PictureCensus, PictureStats, picture_stats
from reid.doctor.data.source import ExaminedSample
from reid.doctor.data.trial import ProtocolTrial
from reid.doctor.finding import Finding, Level, ProgressBar, no_progress
from reid.errors import AnyReIDError
from reid.modality import Modality

HASH_BITS = 8
"""Differing bits of 64 up to which two pictures are compared by their thumbnails."""
GREY_LEVELS = 3.0
"""Mean difference of 16x16 thumbnails up to which pictures look the same: other JPEG quality or scale."""
_LOOKS = 40_000
"""Pictures of a modality that are compared with each other; of more, evenly spaced ones."""
_PAIRS = 20_000
_TRIED = 1000
_ROWS = 256
_BYTES = 2 * 2**30

Seen = tuple[str, int, Modality, str]
"""(digest, entry, modality, what has these bytes: a file or a sample)."""


def file_digests(entries: Sequence[ExaminedSample], watch: ProgressBar = no_progress) -> Iterator[Seen]:
    """Digests of local files that share their size with another one; none if they are over 2 GiB."""
    owner: dict[str, tuple[int, Modality]] = {}
    for index, entry in enumerate(entries):
        for file, modality in entry.files.items():
            owner.setdefault(file, (index, modality))
    sizes = _sizes(list(owner))
    common = Counter(sizes.values())
    files = [file for file in owner if common[sizes.get(file, -1)] > 1 and file in sizes]
    if sum(sizes[file] for file in files) > _BYTES:
        return
    seen = watch("file contents", len(files))
    for file in files:
        yield storage.sha256(storage.read_bytes(file)), *owner[file], file
        seen(1)


def pixel_digests(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Iterator[Seen]:
    """Digests of the decoded pictures."""
    for one in looks.seen:
        yield one.digest, one.entry, one.modality, entries[one.entry].name


def listed_digests(entries: Sequence[ExaminedSample]) -> Iterator[Seen]:
    """Content hashes that a shard set keeps."""
    for index, entry in enumerate(entries):
        if entry.sample.content_hash:
            yield entry.sample.content_hash, index, entry.sample.modalities[0], entry.name


def without_blank(seen: Iterable[Seen], looks: PictureCensus) -> list[Seen]:
    """Without pictures of one flat tone: equal placeholders say nothing about their labels."""
    kept = list(seen)
    often = Counter(digest for digest, *_ in kept)
    flat = {(one.entry, one.modality) for one in looks.seen if one.spread < FLAT}
    blank: set[str] = set()
    checked: set[str] = set()
    for digest, entry, modality, what in kept:
        if (entry, modality) in flat:
            blank.add(digest)
        elif often[digest] > 1 and digest not in checked and what.startswith("/"):
            checked.add(digest)
            if _is_flat(entry, modality, what):
                blank.add(digest)
    return [one for one in kept if one[0] not in blank]


def _is_flat(entry: int, modality: Modality, file: str) -> bool:
    try:
        return picture_stats(entry, modality, storage.read_bytes(file), file).spread < FLAT
    except AnyReIDError:  # told elsewhere
        return False


def check_identical(
    seen: Iterable[Seen], entries: Sequence[ExaminedSample], trial: ProtocolTrial
) -> list[Finding]:
    """Findings about equal contents: wrong labels, leaks from train to test, queries that find a copy."""
    groups: dict[str, dict[str, tuple[int, Modality]]] = defaultdict(dict)
    for digest, index, modality, what in seen:
        groups[digest].setdefault(what, (index, modality))
    contradicting: list[list[str]] = []
    crossing: list[list[str]] = []
    copies: list[list[str]] = []
    repeated: list[list[str]] = []
    for same in groups.values():
        owners = {index for index, _ in same.values()}
        if len(owners) < 2:
            continue
        names = list(same)
        if len({entries[i].identity for i in owners}) > 1:
            contradicting.append(names)
        elif len({entries[i].split for i in owners}) > 1:
            crossing.append(names)
        elif pair := _answers_itself(same, entries, trial):
            copies.append(list(pair))
        elif all(entries[i].split == "train" for i in owners):
            repeated.append(names)
    found = [
        _group(
            contradicting,
            "error",
            "same-picture-two-identities",
            "Pictures under the labels of two identities, one of which is wrong",
            "look at the picture, keep the right label and remove the other row",
        ),
        _group(
            crossing,
            "warning",
            "same-picture-two-splits",
            "Pictures that lie in two splits, so that what is tested was seen in training",
            "remove them from one of the splits",
        ),
        _group(
            copies,
            "warning",
            "query-finds-its-copy",
            "Pictures that are query and gallery item under two names, in a pair that the protocol counts as "
            "a right answer",
            "remove the copy, or give both the same camera (or location), so that the protocol leaves it out",
        ),
        _group(
            repeated,
            "info",
            "repeated-picture",
            "Training pictures that occur more than once",
            "remove the copies: they make a positive pair that teaches nothing",
        ),
    ]
    return [f for f in found if f is not None]


def _answers_itself(
    same: dict[str, tuple[int, Modality]], entries: Sequence[ExaminedSample], trial: ProtocolTrial
) -> tuple[str, str] | None:
    for (a, (i, m)), (b, (j, n)) in islice(permutations(same.items(), 2), _TRIED):
        if trial.counts((m, entries[i].name), (n, entries[j].name)):
            return a, b
    return None


def _group(groups: list[list[str]], level: Level, code: str, what: str, remedy: str) -> Finding | None:
    if not groups:
        return None
    example = " = ".join(groups[0][:3]) + (" = …" if len(groups[0]) > 3 else "")
    files = tuple(name for group in groups for name in group)
    return Finding(level, code, f"{what}: {len(groups)}.", example, remedy, len(groups), files)


def check_lookalikes(
    looks: PictureCensus, entries: Sequence[ExaminedSample], trial: ProtocolTrial
) -> list[Finding]:
    """Findings about pairs of query and gallery picture that look the same but are no equal files."""
    alike: list[tuple[PictureStats, PictureStats, float]] = []
    other: list[tuple[PictureStats, PictureStats, float]] = []
    for modality in sorted({one.modality for one in looks.seen}):
        mine = [o for o in looks.seen if o.modality is modality and o.spread >= FLAT]
        tested = [o for o in mine if entries[o.entry].split == "test"]
        for a, b, apart in _near_pairs(tested[:: 1 + len(tested) // _LOOKS]):
            names = entries[a.entry].name, entries[b.entry].name
            if any(trial.counts((modality, q), (modality, g)) for q, g in (names, names[::-1])):
                same_identity = entries[a.entry].identity == entries[b.entry].identity
                (alike if same_identity else other).append((a, b, apart))
    what = "Pairs of query and gallery picture that look the same"
    found = [
        _pairs(
            alike,
            entries,
            "near-duplicate",
            f"{what}, and that the protocol counts as right answers",
            "were both cut from one frame? Keep one, or give both the same camera",
        ),
        _pairs(
            other,
            entries,
            "near-duplicate-two-identities",
            f"{what} but have two identities, so that a label may be wrong",
            "look at both, and correct the label or remove one",
        ),
    ]
    return [f for f in found if f is not None]


def _near_pairs(looks: Sequence[PictureStats]) -> Iterator[tuple[PictureStats, PictureStats, float]]:
    """Pairs of looks that differ in few bits and few grey levels; equal bytes are told elsewhere."""
    hashes = np.array([one.hash for one in looks], dtype=np.uint64)
    found = 0
    for start in range(0, len(looks), _ROWS):
        block = hashes[start : start + _ROWS]
        bits = np.bitwise_count(block[:, None] ^ hashes[None, :])  # (rows, n)
        for i, j in zip(*np.nonzero(bits <= HASH_BITS), strict=True):
            a, b = looks[start + int(i)], looks[int(j)]
            if start + int(i) >= int(j) or a.digest == b.digest or a.entry == b.entry:
                continue
            apart = float(np.abs(a.thumb.astype(np.int16) - b.thumb).mean())
            if apart <= GREY_LEVELS:
                found += 1
                yield a, b, apart
                if found >= _PAIRS:
                    return


def _pairs(
    pairs: list[tuple[PictureStats, PictureStats, float]],
    entries: Sequence[ExaminedSample],
    code: str,
    what: str,
    remedy: str,
) -> Finding | None:
    if not pairs:
        return None
    a, b, _ = min(pairs, key=lambda pair: pair[2])
    example = f"{entries[a.entry].name} ~ {entries[b.entry].name} ({a.modality.value})"
    names = [entries[one.entry].file(one.modality) for a, b, _ in pairs for one in (a, b)]
    files = tuple(dict.fromkeys(names))
    return Finding("warning", code, f"{what}: {len(pairs)}.", example, remedy, len(pairs), files)


def _sizes(files: Sequence[str]) -> dict[str, int]:
    """Sizes of local files; others, and files that are not there, are left out."""
    sizes: dict[str, int] = {}
    for file in files:
        if not storage.is_remote(file):
            size = storage.stamp(file).partition("@")[0]
            if size.isdigit():
                sizes[file] = int(size)
    return sizes
