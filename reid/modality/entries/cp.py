"""Drawings in colour pencil: what a witness remembers, with its colours."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(
    name="cp",
    order=50,
    words="a colour pencil drawing",
    label="Colour pencil",
    spellings=("colorpencil", "colourpencil"),
)
