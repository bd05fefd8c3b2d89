"""Thermal pictures: the object's own radiation."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(
    name="tir",
    order=30,
    words="a thermal infrared photo",
    label="Thermal",
    spectrum="infrared",
    view="TI",
    spellings=("thermal", "lwir"),
    doubtful=("th", "ti", "fir"),
    near=("mwir",),
)
