"""Shared by all pages of a report: the template environment, and images as text."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from reid.errors import DataError

if TYPE_CHECKING:
    from jinja2 import Environment

_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF": "webp"}


def environment(*packages: str) -> Environment:
    """Templates of these packages, then of this one; everything that is put into them is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(p, "templates") for p in (*packages, "reid.evaluate.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def image_uri(data: bytes) -> str:
    """A data: uri of an encoded picture. Raises DataError unless it is JPEG, PNG or WebP."""
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    raise DataError("A picture of a report must be JPEG, PNG or WebP; this one is none of them.")
