"""Ids of gallery items: one spelling each, and stored ones that a given id may mean."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from reid.labels import alike, tidy, whole_number


def near_id(stored: pa.ChunkedArray | pa.Array, item_id: str) -> str | None:
    """A stored id that may be this one in another spelling; None where it is stored itself, or none is near.

    >>> stored = pa.array(["shop/a", "0007"])
    >>> near_id(stored, "Shop/a"), near_id(stored, "7"), near_id(stored, "shop/a"), near_id(stored, "8")
    ('shop/a', '0007', None, None)
    """
    wanted = tidy(item_id)
    if pc.index(stored, wanted).as_py() >= 0:
        return None
    key = alike(wanted)
    # Arrow looks through all of them, fast; the few that are left are compared exactly.
    bare = _bare(stored)
    found = pc.equal(bare, _bare(pa.array([wanted]))[0])
    if whole_number(key) is not None:
        found = pc.or_(found, pc.match_substring_regex(bare, rf"^-?0*{abs(int(key))}([.,]0+)?$"))
    return next((one for one in pc.filter(stored, found).to_pylist() if alike(one) == key), None)


def _bare(ids: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Ids in lower case and without spaces."""
    if pc.all(pc.string_is_ascii(ids)).as_py():
        return pc.replace_substring(pc.ascii_lower(ids), " ", "")
    return pc.replace_substring_regex(pc.utf8_lower(pc.utf8_normalize(ids, "NFKC")), r"[\s\p{Cf}]+", "")
