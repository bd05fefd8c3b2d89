"""The modalities that AnyReID knows: each one entry, a name, a place in the canonical order.

Nothing is loaded before it is asked for, so that a package which defines an entry can import
`ModalityEntry` from here while the registry imports that package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid.modality.entry import ModalityEntry
    from reid.modality.names import Modality, Target
    from reid.modality.subsets import (
        CAMERA,
        FILE_WORDS,
        FOURTH_BANDS,
        INFRARED,
        ORDER,
        PHOTO,
        PUBLISHED,
        SHORT_FILE_WORDS,
        VISUAL,
        Subset,
        all_subsets,
        canonical,
        parse_modality,
        parse_subset,
        subset_name,
    )

__all__ = [
    "CAMERA",
    "FILE_WORDS",
    "FOURTH_BANDS",
    "INFRARED",
    "ORDER",
    "PHOTO",
    "PUBLISHED",
    "SHORT_FILE_WORDS",
    "VISUAL",
    "Modality",
    "ModalityEntry",
    "Subset",
    "Target",
    "all_subsets",
    "canonical",
    "parse_modality",
    "parse_subset",
    "subset_name",
]

_HOMES = {"ModalityEntry": "entry", "Modality": "names", "Target": "names"}


def __getattr__(name: str) -> Any:
    """What is public, imported at its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'subsets')}")
    found = globals()[name] = getattr(home, name)
    return found
