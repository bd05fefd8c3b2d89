"""What a file that should hold weights is, by its bytes: web page, pointer, archive, a part of a file."""

from __future__ import annotations

import io
import json
import re
import zipfile

_AGAIN = "Get the file itself again, and compare its size with the source's."
_SHOWN = 60
_LARGEST_HEADER = 100_000_000
"""What the safetensors library reads at most."""
_MAGIC = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
}
_ARCHIVE = "Unpack it, and name the file of weights in it."
_OTHER = "Save the model's `state_dict()` with PyTorch as .safetensors or .pt."


def is_safetensors(data: bytes) -> bool:
    """Whether a file begins as .safetensors does: the length of a JSON header, and the header.

    >>> is_safetensors(bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}"), is_safetensors(b"PK")
    (True, False)
    """
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= _LARGEST_HEADER


def why_no_weights(data: bytes) -> str:
    """Why these bytes are no file of weights, as the end of a sentence with the remedy; "" when they may be.

    >>> why_no_weights(b"<!DOCTYPE html><title>403 Forbidden</title>")
    "an HTML page ('403 Forbidden'), not weights: ..."
    >>> why_no_weights(b"")
    "an empty file. ..."
    """
    if not data:
        return f"an empty file. {_AGAIN}"
    if is_safetensors(data):
        return _cut_safetensors(data)
    if data.startswith(b"PK\x03\x04"):
        return _other_zip(data)
    if data[257:262] == b"ustar":
        return f"a tar archive. {_ARCHIVE}"
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            return f"{what}. {_ARCHIVE if 'archive' in what else _OTHER}"
    return _text(data)


def _cut_safetensors(data: bytes) -> str:
    """By the sizes in the header."""
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < start:
        return f"cut short: {len(data):,} bytes, and its header alone has {start:,}. {_AGAIN}"
    try:
        header = json.loads(data[8:start])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"a damaged .safetensors file: its header is no JSON. {_AGAIN}"
    whole = start + max(ends, default=0)
    if len(data) < whole:
        return f"cut short: {len(data):,} of {whole:,} bytes. {_AGAIN}"
    return ""


def _other_zip(data: bytes) -> str:
    """What torch.save writes is a zip archive with data.pkl; TorchScript has code beside it."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile:
        return f"cut short: {len(data):,} bytes, and the end is missing. {_AGAIN}"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            "a TorchScript archive, which holds code. Where you trust its source, save its weights: "
            '`torch.save(torch.jit.load("it.pt", "cpu").state_dict(), "weights.pt")`.'
        )
    if "data.pkl" in inner:
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return f"a NumPy archive (.npz). {_OTHER}"
    return f"a zip archive ({', '.join(names[:3]) or 'empty'}). {_ARCHIVE}"


def _text(data: bytes) -> str:
    head = data[:4096]
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(data) <= len(head) else "ignore").strip()
    except UnicodeDecodeError:
        return ""
    if not text or any(ord(sign) < 9 for sign in text):
        return ""
    if text.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the file itself. Run `git lfs pull` where it comes from."
    if "/annex/objects/" in text[:200]:
        return "a git-annex pointer, not the file itself. Run `git annex get` where it comes from."
    if re.match(r"<!doctype html|<html|<head|<body", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        named = f" ({' '.join(title[1].split())[:_SHOWN]!r})" if title else ""
        return (
            f"an HTML page{named}, not weights: the download was answered by a web page, as for an expired "
            "link or a login. Get the file itself."
        )
    if text.startswith(("<?xml", "<Error")):
        code = re.search(r"<Code>(.*?)</Code>", text)
        named = f" ({code[1]})" if code else ""
        return f"an XML answer{named}, not weights: the download was refused. Get the file itself."
    line = text.splitlines()[0][:_SHOWN]
    return f"a text file that begins {line!r}, not weights. Get the file itself."
