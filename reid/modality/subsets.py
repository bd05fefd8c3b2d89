"""The canonical order of the modalities, and names of subsets ("sketch+text")."""

from __future__ import annotations

from collections.abc import Iterable

from reid.errors import UsageError
from reid.modality.names import Modality

ORDER: tuple[Modality, ...] = tuple(Modality)
VISUAL: tuple[Modality, ...] = tuple(m for m in Modality if m.is_visual)
CAMERA: tuple[Modality, ...] = tuple(m for m in Modality if m.entry.spectrum)
"""Photos, each in a band of light."""
INFRARED: tuple[Modality, ...] = tuple(m for m in Modality if m.entry.spectrum == "infrared")
FOURTH_BANDS: tuple[Modality, ...] = tuple(m for m in Modality if m.entry.fourth_band)
"""What the fourth band of a colour TIFF may be."""
PUBLISHED: tuple[Modality, ...] = (
    Modality.RGB,
    Modality.NIR,
    Modality.TIR,
    Modality.SKETCH,
    Modality.TEXT,
)
"""Those of the published systems, whose tables of weights have a row for each, used or not."""
(PHOTO,) = (m for m in Modality if m.entry.photo)
"""What a picture is of which nothing is told."""

FILE_WORDS: dict[str, Modality] = {word: m for m in ORDER for word in (*m.entry.spellings, *m.entry.doubtful)}
"""What the names of folders and files call a modality, besides its own name."""
SHORT_FILE_WORDS = frozenset(word for m in ORDER for word in m.entry.doubtful)
"""Those that may mean something else in the name of a file."""

Subset = tuple[Modality, ...]
"""A duplicate-free tuple of modalities in canonical order."""


def parse_modality(name: str) -> Modality:
    """Parse the name of a modality; case and surrounding space do not matter.

    Args:
        name: for example "rgb".

    Raises UsageError for an unknown name; the message lists the known ones and the nearest.

    >>> parse_modality(" TIR ")
    <Modality.TIR: 'tir'>
    """
    return Modality.parse(name)


def parse_subset(value: str | Iterable[str]) -> Subset:
    """Parse modality names into a subset.

    Args:
        value: names joined by "+" ("text+sketch"), or an iterable of names.

    Returns:
        The modalities in canonical order without duplicates; at least one.

    Raises UsageError for an unknown modality or an empty subset.

    >>> subset_name(parse_subset("text+rgb"))
    'rgb+text'
    """
    names = value.split("+") if isinstance(value, str) else list(value)
    chosen = {parse_modality(name) for name in names if name.strip()}
    if not chosen:
        raise UsageError("Empty modality subset: name at least one modality, e.g. 'rgb+text'.")
    return canonical(chosen)


def canonical(modalities: Iterable[Modality]) -> Subset:
    """Sort modalities into canonical order and drop duplicates; may be empty.

    >>> canonical([Modality.TEXT, Modality.RGB, Modality.TEXT])
    (<Modality.RGB: 'rgb'>, <Modality.TEXT: 'text'>)
    """
    wanted = set(modalities)
    return tuple(m for m in ORDER if m in wanted)


def subset_name(modalities: Iterable[Modality]) -> str:
    """The canonical name of a subset; "" for an empty one.

    >>> subset_name([Modality.NIR, Modality.RGB])
    'rgb+nir'
    """
    return "+".join(m.value for m in canonical(modalities))


def all_subsets(modalities: Iterable[Modality]) -> list[Subset]:
    """Every non-empty subset of the given modalities: smallest first, then in canonical order.

    >>> [subset_name(s) for s in all_subsets([Modality.NIR, Modality.RGB])]
    ['rgb', 'nir', 'rgb+nir']
    """
    base = canonical(modalities)
    masks = sorted(range(1, 1 << len(base)), key=lambda bits: (bits.bit_count(), bits))
    return [tuple(m for i, m in enumerate(base) if bits >> i & 1) for bits in masks]
