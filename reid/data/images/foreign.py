"""What bytes are that are no picture that Pillow reads: their name, for messages."""

from __future__ import annotations

_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_STARTS = {
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"8BPS": "a Photoshop file",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"version https://git-lfs": "a Git LFS pointer instead of the file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"SIMPLE  =": "a FITS file",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
}
_TEXTS = {"<svg": "an SVG drawing", "<html": "a web page", "<!doctype html": "a web page"}
HEIC = "a HEIC photo of a phone"


def foreign_name(data: bytes) -> str | None:
    """The name of a known kind of file that is not read as a picture, whatever its suffix; else None.

    >>> foreign_name(b"%PDF-1.7")
    'a PDF'
    """
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in (b"avif", b"avis"):
            return None
        return HEIC if brand in _HEIF else f"a file of type {brand.decode('ascii', 'replace').strip()}"
    if found := next((name for start, name in _STARTS.items() if data.startswith(start)), None):
        return found
    try:
        # A character may be cut in two at the end.
        text = data[:512].decode("utf-8") if len(data) <= 512 else data[:512].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return None
    shown = text.strip().lower()
    if found := next((name for start, name in _TEXTS.items() if start in shown), None):
        return found
    return "text" if shown and shown.replace("\n", " ").replace("\r", "").isprintable() else None
