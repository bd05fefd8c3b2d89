"""Names made of content: equal parts give equal names, on any machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel


def fingerprint(*parts: Any) -> str:
    """12 hex digits over JSON-able parts (sections are dumped): equal content, equal name, on any machine."""
    dumped = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(dumped, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
