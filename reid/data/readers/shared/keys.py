"""Keys of JSON files that name samples: which sample each means, also in another spelling."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from reid.data.labels import both
from reid.data.readers.shared import sample_tree
from reid.errors import DataError

Named = TypeVar("Named")
_FOLDERS = {*sample_tree.FOLDERS.values(), sample_tree.INFRARED, sample_tree.MASKS}


def spellings(path: str) -> list[str]:
    """What a sample or a file of it may be called: whole, below its modality's folder, without suffix.

    The surest comes first, each once.

    >>> spellings("imgs/a/1.jpg"), spellings("a\\\\1")
    (['imgs/a/1.jpg', 'a/1.jpg', 'a/1'], ['a/1'])
    """
    whole = unicodedata.normalize("NFC", path.replace("\\", "/"))
    folder, _, rest = whole.partition("/")
    below = rest if rest and folder in _FOLDERS else whole
    return [*dict.fromkeys([whole, below, sample_tree.stem(below)])]


def match_keys(
    keys: Collection[str], named: Mapping[str, Sequence[Named]], uri: str, what: str
) -> tuple[dict[str, Sequence[Named]], list[str]]:
    """What each key means, and notes on keys in another letter case or that mean nothing.

    Args:
        keys: keys of the file, as spelled there.
        named: what there is to be meant, by all its `spellings`.
        uri: the file, for messages.
        what: what a key should be, for messages, e.g. "picture below imgs".

    Raises DataError for a key that means two in another letter case.

    >>> match_keys(["A/1.jpg", "b"], {"a/1": [7]}, "captions.json", "picture")[0]
    {'A/1.jpg': [7]}
    """
    folded: dict[str, list[str]] = defaultdict(list)
    for known in named:
        folded[known.casefold()].append(known)
    found: dict[str, Sequence[Named]] = {}
    respelled: list[tuple[str, str]] = []
    for key in keys:
        name = next((one for one in spellings(key) if one in named), None)
        if name is None:
            fitting = next((near for one in spellings(key) if (near := folded.get(one.casefold()))), [])
            if len(fitting) > 1:
                pair = both(fitting[0], fitting[1], " or ")
                raise DataError(f"{uri}: the key {key!r} may mean {pair}; spell it as the one that is meant.")
            if not fitting:
                continue
            (name,) = fitting
            respelled.append((key, name))
        found[key] = named[name]
    notes = []
    if respelled:
        pair = both(*respelled[0], " is ")
        notes.append(f"{uri}: {len(respelled)} keys differ in letter case from what they mean ({pair})")
    return found, notes + unused(uri, [key for key in keys if key not in found], len(keys), what)


def unused(uri: str, strangers: Sequence[str], count: int, what: str) -> list[str]:
    """A note on keys of a file that mean nothing; none where there is no such key."""
    if not strangers:
        return []
    are = "is" if len(strangers) == 1 else "are"
    told = f"{len(strangers)} of {count} keys {are} no {what} (first: {strangers[0]!r})"
    return [f"{uri}: {told}, and what they say is not used; correct the keys"]
