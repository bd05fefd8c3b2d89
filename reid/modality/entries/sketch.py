"""Drawings in black and white."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(name="sketch", order=40, words="a sketch", label="Sketch", generator="sketch_mix")
