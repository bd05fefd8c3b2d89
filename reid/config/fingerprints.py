"""Fingerprints: names made from content, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel


def fingerprint(*parts: Any) -> str:
    """A fingerprint of JSON-able values and sections: equal content gives an equal name on every machine.

    Args:
        parts: sections or JSON-able values; their order counts.

    Returns:
        12 hex digits of SHA-256.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}), len(fingerprint("x"))
    (True, 12)
    """
    dumped = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(dumped, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
