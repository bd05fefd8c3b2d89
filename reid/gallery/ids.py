"""Ids of gallery items: one spelling each, and stored ones that a given id may mean."""

from __future__ import annotations

from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from reid.data.labels import alike, tidy, whole_number

Ids: TypeAlias = pa.ChunkedArray | pa.Array


def near_id(stored: Ids, item_id: str, bare: Ids | None = None) -> str | None:
    """A stored id that may be this one in another spelling; None where it is stored itself, or none is near.

    Whoever asks for many ids gives `bare_ids(stored)`.

    >>> stored = pa.array(["shop/a", "0007"])
    >>> near_id(stored, "Shop/a"), near_id(stored, "7"), near_id(stored, "shop/a"), near_id(stored, "8")
    ('shop/a', '0007', None, None)
    """
    wanted = tidy(item_id)
    if pc.index(stored, wanted).as_py() >= 0:
        return None
    key = alike(wanted)
    # Arrow looks through all of them, fast; the few that are left are compared exactly.
    bare = bare_ids(stored) if bare is None else bare
    found = pc.equal(bare, bare_ids(pa.array([wanted]))[0])
    if whole_number(key) is not None:
        found = pc.or_(found, pc.match_substring_regex(bare, rf"^-?0*{abs(int(key))}([.,]0+)?$"))
    return next((one for one in pc.filter(stored, found).to_pylist() if alike(one) == key), None)


def bare_ids(ids: Ids) -> Ids:
    """Ids in lower case and without spaces.

    >>> bare_ids(pa.array(["Shop/Bag 1"])).to_pylist()
    ['shop/bag1']
    """
    if pc.all(pc.string_is_ascii(ids)).as_py():
        return pc.replace_substring(pc.ascii_lower(ids), " ", "")
    return pc.replace_substring_regex(pc.utf8_lower(pc.utf8_normalize(ids, "NFKC")), r"[\s\p{Cf}]+", "")
