"""What a client may send: sizes, counts, rates and forms, checked before anything is decoded."""

from __future__ import annotations

import difflib
import hmac
import io
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid.config import ServeConfig
from reid.data import labels
from reid.errors import DataError
from reid.modality import VISUAL, Modality

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Those that a build takes, too; of an animation the first frame."""
_VISUAL_NAMES = tuple(m.value for m in VISUAL)
MASK = "mask"
_LABELS = {"id": False, "source": False, "pid": True, "camid": True, Modality.TEXT.value: True}
"""Fields in which a word for nothing is an empty field, and whether "unknown" is one there."""
_CLIENTS_REMEMBERED = 10_000
_NOT_FETCHED = "Send the file's bytes as a form file; nothing is fetched from an address."


class ApiError(Exception):
    """A refusal: an HTTP status, what is wrong, which field, and what to do about it."""

    def __init__(
        self,
        status: int,
        error: str,
        field: str | None = None,
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.field = field
        self.remedy = remedy
        self.headers = dict(headers or {})

    def body(self) -> dict[str, str | None]:
        """The JSON that the client gets."""
        return {"error": str(self), "field": self.field, "remedy": self.remedy}


@dataclass
class Form:
    """A request's parts and its other fields, checked but for what they mean."""

    parts: dict[Modality, bytes | str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    mask: bytes | None = None


class BodyLimit:
    """ASGI middleware that refuses a body over `limit` bytes, by its header or as it streams in."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = declared.isdigit() and int(declared) > self.limit
        counted = 0

        async def limited() -> Message:
            nonlocal counted
            if too_large:
                raise self._refusal()
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self.limit:
                raise self._refusal()
            return message

        await self.app(scope, limited, send)

    def _refusal(self) -> ApiError:
        mib = self.limit / 2**20
        return ApiError(
            413,
            f"The request is larger than {mib:g} MiB.",
            remedy="Send smaller pictures (crops of one object), or raise serve.max_upload_mib.",
            # The rest of the body is not read, so the connection cannot be used again.
            headers={"Connection": "close"},
        )


class RateLimiter:
    """A token bucket for each client: `per_minute` requests at once, refilled evenly."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count one request; ApiError 429 with Retry-After when the client has used its share."""
        now = self._clock()
        rate = self.per_minute / 60
        left, seen = self._buckets.pop(client, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - seen) * rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _CLIENTS_REMEMBERED:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = max(1, -int(-(1 - left) // rate))
            raise ApiError(
                429,
                f"More than {self.per_minute} requests a minute.",
                remedy=f"Wait {wait} s, or raise serve.requests_per_minute.",
                headers={"Retry-After": str(wait)},
            )


def check_token(request: Request, token: str | None, token_env: str) -> None:
    """Require `Authorization: Bearer <token>`: ApiError 403 if none is set, 401 if it differs."""
    if not token:
        raise ApiError(
            403,
            "This server has no token, so that its gallery is read-only.",
            remedy=f"Set {token_env} in the environment of the server and start it anew.",
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise ApiError(
            401,
            "The token is wrong." if given else "A token is needed.",
            "authorization",
            "Send the header `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": "Bearer"},
        )


async def read_form(request: Request, config: ServeConfig, fields: Sequence[str]) -> Form:
    """Read a multipart form of modality fields, a mask, and the named `fields`.

    Raises ApiError naming the field: 415 for another content type, 413 for too large, 422
    otherwise.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise ApiError(415, f"Content type {kind or 'missing'!r}.", remedy="Send multipart/form-data.")
    known = [*(m.value for m in Modality), MASK, *fields]
    try:
        raw = await request.form(
            max_files=len(VISUAL) + 1,
            max_fields=len(known),
            # UTF-8 takes up to four bytes a character; the exact count is checked below.
            max_part_size=4 * config.max_text_chars + 1024,
        )
    except HTTPException as error:
        raise ApiError(
            422,
            str(error.detail),
            remedy=f"At most one file each of {', '.join((*_VISUAL_NAMES, MASK))} and "
            f"{config.max_text_chars} characters of text.",
        ) from None
    except ClientDisconnect:
        raise ApiError(400, "The client went away.") from None
    form = Form()
    try:
        for name, value in raw.multi_items():
            await _take(form, name, value, config, known)
    finally:
        await raw.close()
    return form


async def _take(form: Form, name: str, value: Any, config: ServeConfig, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        shown = name[:40]
        raise ApiError(422, f"Unknown field {shown!r}.", shown, f"{hint}Known: {', '.join(known)}.")
    content = await value.read() if isinstance(value, UploadFile) else value.strip()
    if not content and not (isinstance(value, UploadFile) and value.filename):
        return  # a browser sends the inputs that were left empty, too
    if isinstance(content, str) and name in _LABELS and labels.is_nothing(content, _LABELS[name]):
        return  # a program writes what it does not know as nan or None
    if name in form.values or name in {m.value for m in form.parts} or (name == MASK and form.mask):
        raise ApiError(422, f"Field {name!r} occurs twice.", name, "Send each field once.")
    if name in _VISUAL_NAMES or name == MASK:
        if not isinstance(content, bytes):
            raise ApiError(422, f"{name}: a file is expected, not text.", name, _NOT_FETCHED)
        if name == MASK:
            form.mask = content
        else:
            form.parts[Modality(name)] = content
        return
    if isinstance(content, bytes):
        raise ApiError(422, f"{name}: text is expected, not a file.", name, "Send it as a plain form field.")
    if len(content) > config.max_text_chars:
        raise ApiError(
            422,
            f"{name}: {len(content)} characters; at most {config.max_text_chars} are taken.",
            name,
            "Shorten it, or raise serve.max_text_chars.",
        )
    if name == Modality.TEXT.value:
        form.parts[Modality.TEXT] = content
    else:
        form.values[name] = content


def check_images(
    parts: Mapping[Modality, bytes | str], max_pixels: int, mask: bytes | None = None
) -> list[str]:
    """Check format and pixel count by the header, then that each picture decodes and is whole.

    Returns what a client should know of its pictures, whatever the run's settings of sensors, and where its
    text is cut. Raises ApiError naming the field: 413 for too many pixels, 422 for anything else.
    """
    from PIL import Image as PILImage

    from reid.data.batches.tokens import unread
    from reid.data.images import check_whole, foreign_name, read_picture
    from reid.data.images.notes import OF_RANGES

    named = {m.value: content for m, content in parts.items()} | ({} if mask is None else {MASK: mask})
    notes = []
    for name, content in named.items():
        if not isinstance(content, bytes):
            notes += [f"{name}: {cut}." for cut in [unread(str(content))] if cut]
            continue
        try:
            with PILImage.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
                width, height = image.size
        except PILImage.DecompressionBombError:
            raise _too_many_pixels(name, "it", max_pixels) from None
        except Exception:  # a header can break Pillow's parsers in many ways
            foreign = foreign_name(content)
            what = "an empty file" if not content else "not a complete picture of a format that is taken"
            what = f"{foreign}, which is not taken" if foreign else what
            remedy = "Save it as JPEG or PNG first. " if foreign else ""
            raise ApiError(422, f"{name}: {what}.", name, f"{remedy}{_formats()}") from None
        if width * height > max_pixels:
            raise _too_many_pixels(name, f"{width}x{height}", max_pixels)
        try:
            picture = read_picture(content, name, max_pixels)
            check_whole(content, name)
        except DataError as error:
            raise ApiError(422, str(error), name, f"Send the complete file. {_formats()}") from None
        notes += [f"{name}: {note.text}." for note in picture.notes if note.kind not in OF_RANGES]
    return notes


def whole_number(values: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    """An integer field in low..high, or None when it is absent; ApiError 422 otherwise."""
    text = values.get(name)
    if text is None:
        return None
    number = labels.whole_number(text) if len(text) < 24 else None
    if number is None:
        raise ApiError(422, f"{name}: {text[:40]!r} is not a whole number.", name)
    if not low <= number <= high:
        raise ApiError(422, f"{name}: {text} is out of range.", name, f"Give a number from {low} to {high}.")
    return number


def chance(values: Mapping[str, str], name: str) -> float | None:
    """A number in (0, 1], or None when it is absent; ApiError 422 otherwise."""
    text = values.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise ApiError(422, f"{name}: {text[:40]!r} is not a number above 0 and up to 1.", name)
    return value


def _formats() -> str:
    return f"Formats: {', '.join(IMAGE_FORMATS)}."


def _too_many_pixels(name: str, size: str, limit: int) -> ApiError:
    return ApiError(
        413,
        f"{name}: {size} exceeds the limit of {limit:,} pixels.",
        name,
        "Send a smaller picture (a crop of one object), or raise serve.max_pixels.",
    )
