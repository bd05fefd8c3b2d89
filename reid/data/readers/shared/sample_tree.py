"""The folder tree in which samples leave a shard set and come back: what lies where.

```
<root>/imgs/<rel>.jpg                  photos
<root>/imgs-<modality>/<rel>.png       other modalities: the same <rel>, each file with its own suffix
                                       (imgs-ir is read as infrared of a kind that the reader is told)
<root>/masks/<rel>.png
<root>/captions.json                   {rel_path: [{text, confidence, origin, ...}]}
<root>/manifest.jsonl                  a line a file: labels and where it comes from
<root>/text/<split>_<VIEW>.json          [{item, description}]
<root>/<split>_attrs.json              [{item, attributes: [{name, value, confidence, source}]}]
```
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from urllib.parse import quote

from reid.modality import PHOTO, VISUAL, Modality

PHOTOS = "imgs"
FOLDERS = {m: PHOTOS if m is PHOTO else f"{PHOTOS}-{m.value}" for m in VISUAL}
INFRARED = "imgs-ir"
"""What other tools call infrared pictures of either kind; read, never written."""
MASKS = "masks"
MANIFEST = "manifest.jsonl"
CAPTIONS = "captions.json"
TEXTS = "text"
ATTRIBUTES = "_attrs.json"
"""Ends the name of each split's table of attributes."""
EXPORT = "export.json"
"""Says which set a tree was written from, and whether it is whole."""

_BESIDE = ", ".join([*(name for name in FOLDERS.values() if name != PHOTOS), INFRARED])
TREE = f"""  <path>/imgs/<rel>.jpg        with {_BESIDE} and masks beside it:
                               the same <rel>, each file with its own suffix"""

_LOSSY = ("avif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "mpo", "webp")
SUFFIXES = frozenset([*_LOSSY, "bmp", "gif", "pgm", "png", "ppm", "tif", "tiff"])
"""File names that end so are pictures; one that cannot be decoded is set aside, not passed over."""
_KINDS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"P5": "pgm",
    b"P6": "ppm",
}
_SAFE = " !#$&'()+,;=@[]^_`{}~.-"
_LONGEST = 200  # bytes of one name; file systems allow 255 with the suffix


def stem(file: str) -> str:
    """A path without the suffix of a picture: "a/b.jpg" -> "a/b", but "a/v1.2" stays."""
    name, _, suffix = file.rpartition(".")
    return name if name and not name.endswith("/") and suffix.lower() in SUFFIXES else file


def safe(sample_id: str) -> str:
    """A relative path for a sample id: what no file may be called is percent-encoded, "/" makes folders."""
    plain = unicodedata.normalize("NFC", stem(sample_id))
    parts = [_safe_part(part) for part in plain.split("/") if part]
    return "/".join(parts) or "_"


def _safe_part(part: str) -> str:
    coded = "".join(c if c.isalnum() or c in _SAFE else quote(c, safe="") for c in part)
    if set(coded) == {"."} or coded.endswith((" ", ".")):
        coded = coded[:-1] + quote(coded[-1], safe="").replace(".", "%2E")
    if coded.startswith("."):  # readers pass over what is hidden
        coded = "%2E" + coded[1:]
    if coded.startswith("__"):
        coded = "%5F" + coded[1:]
    return coded.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")


def suffix_of(data: bytes) -> str:
    """The suffix that fits a picture's bytes, whatever its file was called; "png" if unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), "png")


def item(rel_path: str) -> str:
    """A file's path below its modality's folder: what lists of descriptions call it."""
    return rel_path.partition("/")[2]


def modality_of(folder: str, infrared: Modality) -> Modality | None:
    """The modality whose files a top folder holds; None for another folder."""
    if folder == INFRARED:
        return infrared
    return next((m for m, name in FOLDERS.items() if name == folder), None)


def is_relative(path: str) -> bool:
    """Whether a path stays below its root."""
    normal = posixpath.normpath(path)
    return bool(path) and not re.match(r"(/|[a-z0-9]+://|\.\.(/|$))", normal)
