"""Faults of pictures: unreadable ones, odd sizes and shapes, blank and copied ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from reid import storage
from reid.data.images import PictureNote, open_image
from reid.data.images.notes import BAND, CLIPPED, DIM, FIRST, HIDDEN, OUTLIERS, SUMMARIES
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import Sample
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding, Level
from reid.errors import DataError
from reid.modality import FOURTH_BANDS, Modality

TINY = 16
"""Shorter side in pixels below which a crop shows next to nothing."""
HUGE = 4_000_000
"""Pixels above which a picture is hardly a crop."""
ODD = 3.0
"""How many times taller or wider than the usual picture is unusual."""
FLAT = 2.0
"""Standard deviation of grey levels below which a picture is blank."""
THUMB = 16
_FOURTH = FOURTH_BANDS[0]
_REMEDIES: dict[str, tuple[Level, str]] = {
    HIDDEN: ("warning", "if the alpha is a mask, give it as one, and save the pictures without it"),
    DIM: ("warning", "multiply their values so that they fill 16 bits, or write them in 8 bits"),
    BAND: (
        "warning",
        f"take it by data.fourth_band={_FOURTH} if it is {_FOURTH.entry.words}; else it is not missed",
    ),
    FIRST: ("info", "save each frame or page as a file of its own, if all are wanted"),
    OUTLIERS: (
        "warning",
        "look at them: a stuck pixel is cut off by data.range=percentile (the default) and blackens the rest "
        "with min_max; what is known of the sensor goes into data.range.<modality>={fixed: [low, high]}",
    ),
    CLIPPED: ("warning", "widen data.range.<modality>={fixed: [low, high]}, unless what is cut off is noise"),
}
"""Kind of note -> how grave it is, and what to do."""


@dataclass(frozen=True)
class PictureStats:
    """A summary of a picture: 300 bytes instead of its pixels."""

    entry: int
    modality: Modality
    width: int
    height: int
    digest: str
    hash: int  # 64 bits: is a pixel of 8x9 brighter than its left neighbour?
    thumb: npt.NDArray[np.uint8]  # (16, 16) grey
    spread: float

    @property
    def slenderness(self) -> float:
        """Height over width."""
        return self.height / self.width


@dataclass
class PictureCensus:
    """Collects picture statistics and unreadable captures, one sample at a time."""

    seen: list[PictureStats] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, Modality, PictureNote]] = field(default_factory=list)
    """What reading told of pictures that can be used all the same."""
    captures: int = 0

    def add(self, entry: int, sample: Sample | str) -> None:
        """Add the statistics of a sample, or the reason why it cannot be read."""
        self.captures += 1
        if isinstance(sample, str):
            self.unreadable.append((entry, sample))
            return
        try:
            looks = [
                picture_stats(entry, m, image.image, sample.labels.sample_id)
                for m, image in sample.images.items()
            ]
        except DataError as error:
            self.unreadable.append((entry, str(error)))
            return
        self.seen += looks
        self.notes += [(entry, m, note) for m, image in sample.images.items() for note in image.notes]


def picture_stats(entry: int, modality: Modality, data: bytes, name: str) -> PictureStats:
    """Decode a picture and compute its statistics. Raises DataError naming `name`."""
    picture = open_image(data, name)
    grey = picture.convert("L")
    # Difference hash (N. Krawetz, 2013): bits say where brightness rises to the right.
    coarse = np.asarray(grey.resize((9, 8), PILImage.Resampling.BOX), dtype=np.int16)  # (8, 9)
    rising = coarse[:, 1:] > coarse[:, :-1]  # (8, 8)
    thumb = np.asarray(grey.resize((THUMB, THUMB), PILImage.Resampling.BOX), dtype=np.uint8)
    return PictureStats(
        entry=entry,
        modality=modality,
        width=picture.width,
        height=picture.height,
        digest=storage.sha256(data),
        hash=int.from_bytes(np.packbits(rising).tobytes(), "big"),
        thumb=thumb,
        spread=float(np.asarray(grey, dtype=np.float32).std()),
    )


def check_pictures(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> list[Finding]:
    """Findings about the decoded pictures."""
    found = [_unreadable(looks, entries), _tiny(looks, entries), _huge(looks, entries), _odd(looks, entries)]
    found += [_blank(looks, entries), _copied(looks, entries), *_noted(looks, entries)]
    return [f for f in found if f is not None]


def _unreadable(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    if not looks.unreadable:
        return None
    index, why = looks.unreadable[0]
    return Finding(
        "error",
        "unreadable",
        f"{len(looks.unreadable)} of {looks.captures} captures cannot be read.",
        why if entries[index].name in why or "/" in why else f"{entries[index].name}: {why}",
        "fetch the files again, or remove them; a build sets them aside",
        len(looks.unreadable),
        tuple(entries[i].file() for i, _ in looks.unreadable),
    )


def _tiny(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    return _some(
        looks,
        entries,
        lambda one: min(one.width, one.height) < TINY,
        "tiny-picture",
        f"are less than {TINY} pixels wide or high: there is hardly anything to recognise",
        "leave them out, or look for the originals",
    )


def _huge(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    return _some(
        looks,
        entries,
        lambda one: one.width * one.height > HUGE,
        "huge-picture",
        f"have more than {HUGE // 1_000_000} million pixels: slow to decode, and hardly crops of one object",
        "cut the object out and shrink it to a few hundred pixels; this system does not detect",
    )


def _odd(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    usual = float(np.median([one.slenderness for one in looks.seen])) if looks.seen else 1.0
    return _some(
        looks,
        entries,
        lambda one: not 1 / ODD <= one.slenderness / usual <= ODD,
        "odd-shape",
        f"are over {ODD:g} times taller or wider than the usual one (height : width = {usual:.2f}); "
        "resized to one shape, they get distorted",
        "look at them: are they whole crops of one object, upright?",
    )


def _blank(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    return _some(
        looks,
        entries,
        lambda one: one.spread < FLAT,
        "blank-picture",
        "show one flat tone",
        "remove them: they are failed captures, or placeholders for a modality that is missing (leave the "
        "file out instead)",
    )


def _copied(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> Finding | None:
    """A picture of one modality given once more as another one."""
    first: dict[tuple[int, str], PictureStats] = {}
    copies: dict[int, tuple[PictureStats, PictureStats]] = {}
    for one in looks.seen:
        other = first.setdefault((one.entry, one.digest), one)
        if other is not one:
            copies.setdefault(one.entry, (other, one))
    if not copies:
        return None
    a, b = next(iter(copies.values()))
    return Finding(
        "warning",
        "copied-modality",
        f"Captures with the very same picture in two modalities: {len(copies)}.",
        f"{entries[a.entry].name}: {a.modality.value} = {b.modality.value}",
        "leave a missing modality out: models complete it; a copy claims that it was seen",
        len(copies),
        tuple(entries[b.entry].file(b.modality) for _, b in copies.values()),
    )


def _noted(looks: PictureCensus, entries: Sequence[ExaminedSample]) -> list[Finding]:
    """What reading told of pictures: hidden colours, bands left out, values far outside the range."""
    of_kind: dict[str, list[tuple[int, Modality, PictureNote]]] = defaultdict(list)
    for noted in looks.notes:
        of_kind[noted[2].kind].append(noted)
    found = []
    for kind, told in sorted(of_kind.items()):
        entry, modality, note = told[0]
        level, remedy = _REMEDIES[kind]
        text = f"{len(told)} of {len(looks.seen)} {SUMMARIES[kind]}."
        example = f"{entries[entry].name}, {modality.value}: {note.text}"
        found.append(Finding(level, kind, text, example, remedy, len(told)))
    return found


def noted_when_built(manifest: Manifest) -> list[Finding]:
    """The same of a built set, as its manifest counts it: its pictures are stored in 8 bits."""
    return [
        Finding(
            _REMEDIES[kind][0],
            kind,
            f"When the set was built, {noted.count} {SUMMARIES[kind]}.",
            noted.first,
            f"{_REMEDIES[kind][1]}; then build again",
            noted.count,
        )
        for kind, noted in sorted(manifest.notes.items())
        if kind in _REMEDIES
    ]


def _some(
    looks: PictureCensus,
    entries: Sequence[ExaminedSample],
    bad: Callable[[PictureStats], bool],
    code: str,
    what: str,
    remedy: str,
) -> Finding | None:
    found = [one for one in looks.seen if bad(one)]
    if not found:
        return None
    one = found[0]
    example = f"{entries[one.entry].name}, {one.modality.value}: {one.width}x{one.height}"
    text = f"{len(found)} of {len(looks.seen)} pictures {what}."
    files = tuple(entries[one.entry].file(one.modality) for one in found)
    return Finding("warning", code, text, example, remedy, len(found), files)
