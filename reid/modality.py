"""The modalities that AnyReID knows, their canonical order, and names of subsets ("sketch+text")."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum

from reid.errors import UsageError


class Modality(StrEnum):
    """One way of observing an object. The order of declaration is the canonical order everywhere.

    >>> Modality("nir").is_visual, Modality.TEXT.is_visual
    (True, False)
    """

    RGB = "rgb"
    NIR = "nir"
    TIR = "tir"
    SKETCH = "sketch"
    TEXT = "text"

    @property
    def is_visual(self) -> bool:
        """True for modalities stored as an image."""
        return self is not Modality.TEXT


class Target(StrEnum):
    """What a generator can make for a capture: one of the modalities, or the mask of the object.

    >>> Target.NIR.modality is Modality.NIR, Target.MASK.modality
    (True, None)
    """

    RGB = "rgb"
    NIR = "nir"
    TIR = "tir"
    SKETCH = "sketch"
    TEXT = "text"
    MASK = "mask"

    @property
    def modality(self) -> Modality | None:
        """The modality of this name; None for the mask."""
        return None if self is Target.MASK else Modality(self.value)


ORDER: tuple[Modality, ...] = tuple(Modality)
VISUAL: tuple[Modality, ...] = tuple(m for m in Modality if m.is_visual)
CAMERA: tuple[Modality, ...] = (Modality.RGB, Modality.NIR, Modality.TIR)

FILE_WORDS: dict[str, Modality] = {
    **dict.fromkeys(("vis", "visible", "color", "colour"), Modality.RGB),
    **dict.fromkeys(("ni", "ir", "infrared"), Modality.NIR),
    **dict.fromkeys(("th", "ti", "thermal", "lwir", "fir"), Modality.TIR),
}
"""What the names of folders and files call a modality, besides its own name."""
SHORT_FILE_WORDS = frozenset({"ni", "ir", "th", "ti", "fir"})
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
    try:
        return Modality(name.strip().lower())
    except ValueError:
        known = [m.value for m in ORDER]
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"Unknown modality {name!r}.{hint} Known: {', '.join(known)}.") from None


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
