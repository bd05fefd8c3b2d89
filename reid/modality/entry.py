"""What is said of a modality in one place: its entry. `docs/write-a-modality.md` shows how to add one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from reid.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*")
_SPELLING = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class ModalityEntry:
    """One way of observing an object, and all that generic code has to know of it.

    Raises ConfigError for a field that cannot be; whether entries fit together is the registry's question.

    >>> ModalityEntry(name="uv", order=35, words="an ultraviolet photo").is_visual
    True
    """

    name: str
    """As it is written everywhere: in configurations, as a column of shards, as a field of the endpoint."""
    order: int
    """Its place among the others, the smallest first; subsets are named and stored in this order."""
    words: str
    """What one is called in a sentence and in prompts, e.g. "a thermal infrared photo"."""
    kind: Literal["image", "text"] = "image"
    bits: Literal[8, 16] = 8
    """Bits of a stored pixel. Whole numbers of 16 bits are stored as they are, and scaled when read."""
    value_range: Literal["percentile", "min_max"] | tuple[float, float] = "percentile"
    """How a picture of one channel with more than 8 bits becomes grey levels where the configuration says
    nothing: by its own range, without or with its extremes, or by two values that become black and white."""
    jitter: bool = True
    """Whether training may change its brightness and contrast (train.augment.jitter)."""
    photo: bool = False
    """Whether a picture of which nothing is told is of this kind, which generators read and the others are
    compared with. One entry says so."""
    spectrum: Literal["visible", "infrared", "ultraviolet"] | None = None
    """The band of light of a photo in it; None for what is none (drawings, depth). What knows photos, such as
    captioners, reads these; batches and protocols tell visible from infrared by it."""
    fourth_band: bool = False
    """Whether the band after the three colours of a TIFF may be it."""
    label: str = ""
    """Its name on pages, e.g. "Near infrared"; default: `name` in capitals."""
    generator: str | None = None
    """The generator without weights that makes it from a photo, which the doctor proposes."""
    view: str = ""
    """What tables of captions call the sentences about it, e.g. "NI"; default: the name in capitals."""
    spellings: tuple[str, ...] = ()
    """What names of folders and files call it, besides its own name."""
    doubtful: tuple[str, ...] = ()
    """Further spellings, which may mean something else in the name of a file (4-th.jpg)."""
    near: tuple[str, ...] = ()
    """Words for something else that is most like it; they are not read as it, the doctor tells of them."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"modality {self.name!r}: a name is made of small letters and digits, a letter first."
            )
        for word in (*self.spellings, *self.doubtful, *self.near):
            if not _SPELLING.fullmatch(word) or word != word.casefold():
                raise ConfigError(
                    f"modality {self.name}: the spelling {word!r} is no word of small letters and digits; "
                    "names of files are cut at '_', '-' and '.', and compared without regard to case."
                )

    @property
    def title(self) -> str:
        """Its name on pages."""
        return self.label or self.name.upper()

    @property
    def caption_view(self) -> str:
        """The name of its view in tables of captions."""
        return self.view or self.name.upper()

    @property
    def is_visual(self) -> bool:
        """True for what is stored as a picture."""
        return self.kind == "image"
