"""Bytes that may be weights pass; the others are told by their beginning."""

from __future__ import annotations

import io

import pytest
import torch
from safetensors.torch import save

from reid.storage.file_kinds import is_safetensors, why_no_weights


def test_files_of_both_formats_pass() -> None:
    stream, old = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    for data in (stream.getvalue(), old.getvalue(), save({"a": torch.ones(2)}), save({})):
        assert why_no_weights(data) == ""
    assert is_safetensors(save({})) and not is_safetensors(stream.getvalue())


def test_a_header_that_is_no_json_is_damage() -> None:
    data = bytearray(save({"a": torch.ones(2)}))
    data[12] = 0xFF
    assert why_no_weights(bytes(data)).startswith("a damaged .safetensors file")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xef\xbb\xbf<HTML><body>login", "an HTML page"),
        (b"<head>", "an HTML page"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\xfd7zXZ\x00", "an xz archive"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"GGUF\x03\x00", "a GGUF file"),
        (b"Zugriff verweigert: bitte anmelden", "a text file that begins 'Zugriff"),
    ],
)
def test_the_beginning_tells(data: bytes, told: str) -> None:
    assert why_no_weights(data).startswith(told)
