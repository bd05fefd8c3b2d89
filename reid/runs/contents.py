"""What a caller has of a capture (a file, bytes, an image, an array, a sentence) -> encoded parts of a row.

A bare string is a file if it ends like a picture (`.jpg`, `.png`, …), if it has a `/` and no space (so have
`s3://` uris), or if something of this name exists; everything else is a sentence. Under the name of a
modality there is no doubt: `{"text": …}` is a sentence, `{"rgb": …}` a file.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from reid import storage
from reid.config import RangeRule
from reid.data.batches.batch_row import Parts, RowPart
from reid.data.images import (
    DEFAULT_SENSORS,
    MAX_PIXELS,
    SensorSettings,
    check_whole,
    encode_image,
    encode_png,
    open_image,
)
from reid.data.readers.base import to_images
from reid.errors import DataError, UsageError
from reid.evaluate.several_samples import views_of
from reid.modality import PHOTO, Modality, canonical, parse_modality, subset_name

Picture = str | Path | bytes | PILImage.Image | npt.NDArray[np.uint8]
"""A file or s3:// uri, encoded bytes, a Pillow image, or pixels (H, W, 3) or (H, W) uint8 in 0..255."""
Content = Picture | Mapping[Any, Picture | Sequence[Picture]]
"""A bare picture (taken as rgb), a sentence, or pictures and a sentence by modality, a name or a Modality;
for a query a list or tuple of several samples of a modality.

(A Mapping of one key type takes no other, and a union of two takes no mixed dictionary: hence Any.)
"""

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif"),
)
ACCEPTED = "a path, bytes, a PIL image, a uint8 array (H, W, 3) or (H, W), or a sentence"


def content_views(content: Content, where: str = "") -> list[Content]:
    """What is embedded of a query: itself, or, with several samples of a modality, each combination of them.

    Its vector is that of all views together (`reid.evaluate.several_samples`). Raises UsageError for an empty
    list of samples, and for more combinations than are embedded.

    >>> content_views({"sketch": ["a.png", "b.png"], "text": "a red coat"})
    [{'sketch': 'a.png', 'text': 'a red coat'}, {'sketch': 'b.png', 'text': 'a red coat'}]
    """
    if not isinstance(content, Mapping) or not any(map(_are_several, content.values())):
        return [content]
    given: Mapping[Any, Any] = content
    samples = {name: list(value) if _are_several(value) else [value] for name, value in given.items()}
    for name, found in samples.items():
        if not found:
            raise UsageError(f"{_at(where)}{name}: an empty list of samples; leave the modality out.")
    try:
        return list(views_of(samples))
    except UsageError as error:
        raise UsageError(f"{_at(where)}{error}") from None


def check_alike(views: Sequence[Iterable[Modality]], where: str = "") -> None:
    """Raise UsageError where the views of a query differ in modalities: some pictures have a fourth band.

    >>> check_alike([{Modality.RGB: 1}, {Modality.RGB: 2}])
    """
    kinds = list(dict.fromkeys(canonical(view) for view in views))
    if len(kinds) > 1:
        names = " and ".join(subset_name(kind) for kind in kinds)
        raise UsageError(
            f"{where}The samples of one modality bring different ones ({names}), as pictures with and "
            "without a fourth band do; their vectors have no mean. Ask with those that are alike."
        )


def _are_several(value: Any) -> bool:
    return isinstance(value, list | tuple)


def row_parts(
    content: Content, where: str = "", sensors: SensorSettings = DEFAULT_SENSORS
) -> dict[Modality, RowPart]:
    """The encoded parts of one capture by modality, in canonical order, from an unknown camera.

    Files are read here; arrays and Pillow images become PNG, which keeps every pixel of 8 bits; `sensors`
    says how deeper ones are scaled. `where` is put before what messages name, e.g. "Row 3". Raises UsageError
    for an unknown modality (with the nearest one) and an empty mapping, DataError for a missing file, bytes
    of length 0 and arrays that are no pictures.

    >>> parts = row_parts({"rgb": "a.jpg", "text": "a red coat"})
    >>> [(m.value, part.source) for m, part in parts.items()]
    [('rgb', 'a.jpg'), ('text', 'text')]
    """
    named = _by_modality(content, where)
    return {m: _part(m, named[m], where, sensors.rule(m)) for m in canonical(named)}


def encoded_parts(content: Content, sensors: SensorSettings = DEFAULT_SENSORS) -> Parts:
    """As `row_parts`, but plain bytes and sentences, every picture looked at.

    Raises DataError naming the file of a picture that cannot be decoded.
    """
    parts = row_parts(content, sensors=sensors)
    for modality, part in parts.items():
        if isinstance(part.content, bytes) and part.source != modality.value:
            open_image(part.content, part.source)
            check_whole(part.content, part.source)
    return {m: part.content for m, part in parts.items()}


def plain_parts(
    parts: Parts,
    sensors: SensorSettings,
    takes: Iterable[Modality],
    sources: Mapping[Modality, str] | None = None,
) -> tuple[Parts, list[str]]:
    """Parts whose pictures have the 8 bits that a build with these settings would store, and notes on them.

    `takes` are the modalities that the model takes: a fourth band becomes one of them or none. `sources` are
    their names in messages, else the modality's. Raises DataError naming a picture that cannot be decoded or
    lost a part.

    >>> png = encode_png(np.zeros((4, 2, 3), np.uint8))
    >>> plain_parts({Modality.RGB: png}, SensorSettings(), [Modality.RGB])[1]
    []
    """
    found: dict[Modality, bytes | str] = dict(parts)
    notes = []
    for modality, content in parts.items():
        if not isinstance(content, bytes):
            continue
        source = (sources or {}).get(modality, modality.value)
        images = to_images(content, source, MAX_PIXELS, modality, sensors)
        found[modality] = images[modality].image
        notes += [f"{modality.value}: {note.text}." for note in images[modality].notes]
        for other in images.keys() - parts.keys():
            if other in takes:
                found[other] = images[other].image
                notes.append(f"{other.value}: the fourth band of {modality.value}.")
    return {m: found[m] for m in canonical(found)}, notes


def is_file(text: str) -> bool:
    """Whether a string names a picture file; else it is a sentence."""
    spaced = any(map(str.isspace, text))
    if "/" in text and not spaced:  # uris among them
        return True
    if text.lower().endswith(PICTURE_SUFFIXES) and "\n" not in text:
        return True
    try:
        return bool(text) and os.path.exists(os.path.expanduser(text))
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False


def _by_modality(content: Any, where: str) -> dict[Modality, Any]:
    if isinstance(content, Mapping):
        found: dict[Modality, Any] = {}
        for name, value in content.items():
            if not isinstance(name, str):
                raise UsageError(f"{_at(where)}Modality {name!r}: give its name, e.g. 'rgb', or a Modality.")
            modality = parse_modality(name)
            if modality in found:
                raise UsageError(f"{_at(where)}{modality.value} is given twice.")
            found[modality] = value
        if not found:
            raise UsageError(f"{_at(where)}An empty mapping; give at least one modality, e.g. {{'rgb': …}}.")
        return found
    if isinstance(content, str) and not is_file(content):
        if not content.strip():
            raise UsageError(f"{_at(where)}An empty string is neither a file nor a sentence.")
        return {Modality.TEXT: content}
    return {PHOTO: content}


def _part(modality: Modality, value: Any, where: str, rule: RangeRule) -> RowPart:
    name = f"{where}, {modality.value}" if where else modality.value
    if not modality.is_visual:
        if not isinstance(value, str):
            raise DataError(f"{name}: {_kind(value)} is not a sentence; give a string.")
        return RowPart(value, name)
    if isinstance(value, str | Path):
        return RowPart(_read(value, name), str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return RowPart(bytes(value), name)
    if isinstance(value, PILImage.Image):
        return RowPart(encode_image(value, name, rule), name)
    if isinstance(value, np.ndarray):
        return RowPart(_encode_array(value, name), name)
    raise DataError(f"{name}: {_kind(value)} is no content of a capture; give {ACCEPTED}.")


def _read(file: str | Path, name: str) -> bytes:
    uri = storage.absolute(file)
    if not storage.is_remote(uri) and not os.path.isfile(uri):
        folder = os.path.isdir(uri)
        what = "a folder, not a picture." if folder else f"no such file.{_nearest_file(uri)}"
        sentence = " A sentence is {'text': …}." if isinstance(file, str) else ""
        raise DataError(f"{name}: {file}: {what}{sentence}")
    return storage.read_bytes(uri)


def _nearest_file(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        beside: Iterable[str] = os.listdir(folder)
    except OSError:
        return f" There is no folder {folder}."
    near = difflib.get_close_matches(name, beside, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _encode_array(pixels: npt.NDArray[Any], name: str) -> bytes:
    """PNG of (H, W) or (H, W, 3) uint8; DataError says what makes a picture of others."""
    shape = "x".join(map(str, pixels.shape)) or "no dimension"
    facts = f"{name}: an array of {shape}, {pixels.dtype}"
    if pixels.dtype != np.uint8:
        scale = "(x * 255).round().astype(np.uint8)" if pixels.dtype.kind == "f" else "x.astype(np.uint8)"
        raise DataError(f"{facts}; a picture is uint8 in 0..255: {scale}, if its values are in that range.")
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3):
        if not pixels.size:
            raise DataError(f"{facts}; it has no pixel.")
        return encode_png(np.ascontiguousarray(pixels))
    remedy = "give (H, W, 3) or (H, W)"
    if pixels.ndim == 4:
        remedy = "give several pictures as a list: list(x)"
    elif pixels.ndim == 3 and pixels.shape[0] == 3:
        remedy = "the channels go last: x.transpose(1, 2, 0)"
    elif pixels.ndim == 3 and pixels.shape[2] == 1:
        remedy = "one channel goes without its axis: x[..., 0]"
    elif pixels.ndim == 3 and pixels.shape[2] == 4:
        remedy = "a picture with transparency goes through Pillow: PIL.Image.fromarray(x)"
    raise DataError(f"{facts}; {remedy}.")


def _kind(value: Any) -> str:
    kind = type(value)
    named = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return "None" if value is None else f"an object of type {named}"


def _at(where: str) -> str:
    return f"{where}: " if where else ""
