"""Sentences about the object."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(name="text", order=90, words="a sentence", label="Text", kind="text")
