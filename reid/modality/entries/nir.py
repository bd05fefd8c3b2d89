"""Near-infrared pictures: what a night camera with its own lamps sees."""

from __future__ import annotations

from reid.modality.entry import ModalityEntry

MODALITY = ModalityEntry(
    name="nir",
    order=20,
    words="a near-infrared photo",
    label="Near infrared",
    generator="ir_nir",
    spectrum="infrared",
    fourth_band=True,
    view="NI",
    spellings=("infrared",),
    doubtful=("ni", "ir"),
    near=("swir",),
)
