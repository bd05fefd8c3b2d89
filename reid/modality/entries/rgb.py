"""Colour photos."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(
    name="rgb",
    order=10,
    words="a colour photo",
    label="Photo",
    photo=True,
    spectrum="visible",
    spellings=("vis", "visible", "color", "colour"),
)
