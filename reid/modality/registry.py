"""Finds the entries of all modalities: our own files, and those of installed packages.

A package registers a modality by an entry point of the group `anyreid.modalities`, whose value names a
`ModalityEntry`. Every process that has the package installed finds it, Ray's workers, too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterable, Mapping

from reid.errors import AnyReIDError, ConfigError
from reid.modality.entry import ModalityEntry

ENTRIES = "reid.modality.entries"
GROUP = "anyreid.modalities"
RESERVED = frozenset(
    {
        "all",
        "attributes",
        "camid",
        "captions",
        "content_hash",
        "dataset",
        "extra",
        "id",
        "k",
        "location",
        "mask",
        "options",
        "pid",
        "roles",
        "sample_id",
        "source",
        "split",
        "timestamp",
        "tracklet_id",
        "viewid",
    }
)
"""Other columns of shards, and other fields of the endpoint's forms."""


@functools.cache
def entries() -> tuple[ModalityEntry, ...]:
    """Every registered modality, in canonical order; the same in all processes with the same packages.

    Raises ConfigError for an entry that does not load, or that does not fit another one.

    >>> [e.name for e in entries() if e.spectrum]
    ['rgb', 'nir', 'tir']
    """
    return arranged({**_own(), **_installed()})


def arranged(found: Mapping[str, object]) -> tuple[ModalityEntry, ...]:
    """Entries in canonical order.

    Args:
        found: what lies at each place, e.g. {"acme.bands:UV": ModalityEntry(…)}.

    Raises ConfigError for what is no entry, and for two that share a name or a spelling.
    """
    here: dict[str, ModalityEntry] = {}
    for place, entry in found.items():
        if not isinstance(entry, ModalityEntry):
            raise ConfigError(f"{place}: a {type(entry).__name__}; expected a reid.modality.ModalityEntry.")
        if entry.name in RESERVED:
            raise ConfigError(f"{place}: {entry.name!r} is the name of another column; rename the modality.")
        here[place] = entry
    _alone(here)
    sentences = [place for place, entry in here.items() if entry.kind == "text"]
    if len(sentences) > 1:
        raise ConfigError(f"{' and '.join(sentences)}: samples have one kind of text; keep one of them.")
    photos = [place for place, entry in here.items() if entry.photo]
    if len(photos) != 1:
        raise ConfigError(f"{' and '.join(photos) or 'no modality'}: one modality is the plain photo.")
    return tuple(sorted(here.values(), key=lambda e: (e.order, e.name)))


def _alone(here: Mapping[str, ModalityEntry]) -> None:
    """Raise ConfigError for a word that two entries claim."""
    owner: dict[str, str] = {}
    for place, entry in here.items():
        if other := owner.get(entry.name):
            raise ConfigError(
                f"Two modalities are called {entry.name!r}: {other} and {place}; rename one of them, or "
                "uninstall its package."
            )
        owner[entry.name] = place
    for place, entry in here.items():
        for word in (*entry.spellings, *entry.doubtful, *entry.near):
            if other := owner.get(word):
                raise ConfigError(
                    f"Two modalities are spelled {word!r} in names of files: {other} and {place}; take the "
                    "spelling out of one of them."
                )
            owner[word] = place


def _own() -> dict[str, object]:
    path = importlib.import_module(ENTRIES).__path__
    names: Iterable[str] = sorted(m.name for m in pkgutil.iter_modules(path))
    return {
        f"{ENTRIES}.{n}": getattr(importlib.import_module(f"{ENTRIES}.{n}"), "MODALITY", None) for n in names
    }


def _installed() -> dict[str, object]:
    found = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        place = f"{point.value} (package {point.dist.name})" if point.dist else point.value
        try:
            found[place] = point.load()
        except AnyReIDError:
            raise
        except Exception as error:  # whatever a foreign module raises
            raise ConfigError(
                f"{place}: the modality {point.name!r} cannot be loaded ({type(error).__name__}: {error}); "
                "mend or uninstall the package."
            ) from error
    return found
