"""Colour pencil and depth: folders name them, and depth keeps its 16 bits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.config import FixedRange
from reid.data.images import SensorSettings, encode_png
from reid.data.readers.base import to_images
from reid.modality import Modality, parse_modality
from tests.support.sets.new_modality import from_folder_to_hit, settings, write_folder
from tests.support.sets.photos import build_here, rows_of

DEPTH, CP = parse_modality("depth"), parse_modality("cp")
MILLIMETRES = np.array([[0, 2000], [4000, 8000]], np.uint16)


def test_depth_keeps_its_sixteen_bits_and_is_scaled_by_a_fixed_range_when_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", "depthmap", deep=True)
    row = rows_of(build_here(settings(folder, tmp_path / "work", "depth")).shards, "test")[0]
    stored = np.asarray(Image.open(io.BytesIO(row.images[DEPTH].image)))
    expected = np.asarray(Image.open(sorted((folder / "test").rglob("depthmap/cam0.png"))[0]))
    assert stored.dtype == np.uint16 and (stored == expected).all()
    assert (row.pixels("depth")[..., 0] == np.round(expected * (255.0 / 8000))).all()


def test_the_configuration_can_give_depth_another_range() -> None:
    png = encode_png(MILLIMETRES)
    sensors = SensorSettings({DEPTH: FixedRange(fixed=(0, 4000))})
    assert SensorSettings().rule(DEPTH) == FixedRange(fixed=(0, 8000))
    assert sensors.rule(DEPTH) == FixedRange(fixed=(0, 4000))
    assert to_images(png, "a.png", 100, DEPTH, sensors)[DEPTH].image == png
    other = to_images(png, "a.png", 100, Modality.TIR)[Modality.TIR].image
    assert np.asarray(Image.open(io.BytesIO(other))).dtype == np.uint8, "thermal pictures have 8 bits"


@pytest.mark.slow
def test_a_colour_pencil_folder_goes_from_build_to_hit(tmp_path: Path) -> None:
    found = from_folder_to_hit(write_folder(tmp_path / "mine", "colorpencil"), tmp_path / "work", "cp")
    assert found.stored == ["cp", "rgb"]
    assert found.compared == "cp->cp" and len(found.hits) == 3
    assert f"/{found.pids[0]:04d}/" in found.query, "the picture itself is in the gallery"
    assert CP.entry.title == "Colour pencil"
