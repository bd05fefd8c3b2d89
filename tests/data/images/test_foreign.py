"""What is no picture is called by its name, whatever its suffix says."""

from __future__ import annotations

import pytest

from reid.data.images import foreign_name, open_image
from reid.errors import DataError


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "a HEIC photo of a phone"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(500), "a HEIC photo of a phone"),
        (b"\0\0\0\x18ftypisom\0\0\0\0" + bytes(500), "a file of type isom"),
        (b"%PDF-1.7\n" + bytes(range(256)), "a PDF"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS pointer instead of the file",
        ),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        ("Übersicht\r\nnichts".encode(), "text"),
        (b"\xff\x0a" + bytes(90), "a JPEG XL picture"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
    ],
)
def test_known_kinds_are_named(data: bytes, name: str) -> None:
    assert foreign_name(data) == name
    with pytest.raises(DataError, match=rf"a\.jpg: not an image that Pillow can read \(it is {name}\)"):
        open_image(data, "a.jpg")


def test_unknown_bytes_have_no_name() -> None:
    assert foreign_name(bytes(100)) is None
    assert foreign_name(b"\0\0\0\x1cftypavif") is None, "that is a picture"
