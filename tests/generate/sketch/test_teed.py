"""Sketches by the edge network TEED."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reid.config import GenerateConfig
from reid.data.images import Pixels
from reid.errors import WeightsError
from reid.generate.registry import GeneratorInput, bind
from reid.generate.sketch.teed import SketchTeed
from reid.generate.sketch.teed_network import Teed
from reid.modality import Modality, Target
from tests.support.given import given

PARAMETERS = 58_910  # as the paper counts them (section 4)


def source(pixels: Pixels) -> GeneratorInput:
    return GeneratorInput("a", {Modality.RGB: pixels}, None, np.random.default_rng(0))


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A checkpoint of random weights."""
    path = str(tmp_path / "teed.safetensors")
    save_file(Teed().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def published() -> str:
    """The authors' checkpoint."""
    checkpoint = "teed/BIPED_7_model.pth"
    return str(given("ANYREID_TEST_WEIGHTS", "weights", checkpoint) / checkpoint)


def square() -> Pixels:
    """A red square on grey; its sides are at 24 and 72 of 96."""
    pixels = np.full((96, 96, 3), 120, np.uint8)
    pixels[24:72, 24:72] = (200, 40, 30)
    return pixels


def test_the_network_has_the_parameters_of_the_paper() -> None:
    assert sum(p.numel() for p in Teed().parameters()) == PARAMETERS


def test_the_published_weights_draw_dark_lines_where_the_edges_are(published: str) -> None:
    (sketch,) = SketchTeed(weights=published)([source(square())])
    assert isinstance(sketch, np.ndarray) and sketch.shape == (96, 96) and sketch.dtype == np.uint8
    assert sketch[30:66, 22:27].min(axis=1).max() < 80  # ink along the whole left side
    assert sketch[36:60, 36:60].min() > 200  # white within
    assert sketch[6:14, 6:90].min() > 200  # and without


def test_the_published_weights_leave_a_flat_picture_white(published: str) -> None:
    (sketch,) = SketchTeed(weights=published)([source(np.full((64, 48, 3), 90, np.uint8))])
    assert np.asarray(sketch)[8:-8, 8:-8].min() > 235


def test_pictures_of_any_sizes_come_back_in_their_own_size_and_order(tiny: str) -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in [(33, 17), (8, 5), (33, 17)]]
    maker = SketchTeed(weights=tiny)
    together = maker([source(p) for p in pictures])
    for picture, sketch in zip(pictures, together, strict=True):
        (alone,) = maker([source(picture)])
        assert np.array_equal(np.asarray(sketch), np.asarray(alone))
        assert np.asarray(sketch).shape == picture.shape[:2]


def test_contrast_above_one_only_adds_ink(tiny: str) -> None:
    (plain,) = SketchTeed(weights=tiny)([source(square())])
    (dark,) = SketchTeed(weights=tiny, contrast=3.0)([source(square())])
    assert (np.asarray(dark) <= np.asarray(plain)).all()


def test_it_is_bound_by_its_name(tiny: str) -> None:
    bound = bind(Target.SKETCH, GenerateConfig(generator="sketch_teed", params={"weights": tiny}))
    assert bound.heavy and "MIT" in bound.entry.license_note
    (sketch,) = bound.load()([source(square())])
    assert np.asarray(sketch).shape == (96, 96)


def test_a_missing_checkpoint_names_the_three_remedies() -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth.*\(1\).*ANYREID_WEIGHTS.*\(2\).*\(3\).*s3://"):
        SketchTeed(weights="nowhere.pth")


def test_a_name_is_looked_for_in_the_weights_folder(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREID_WEIGHTS", str(Path(tiny).parent))
    SketchTeed(weights="teed")


@pytest.mark.parametrize("before", ["module.", "model._orig_mod."])
def test_a_wrapped_checkpoint_draws_the_same(before: str, tiny: str, tmp_path: Path) -> None:
    state = {before + name: tensor for name, tensor in load_file(tiny).items()}
    torch.save({"net": state, "epoch": 7}, tmp_path / "wrapped.pth")
    (wrapped,) = SketchTeed(weights=str(tmp_path / "wrapped.pth"))([source(square())])
    (plain,) = SketchTeed(weights=tiny)([source(square())])
    assert np.array_equal(np.asarray(wrapped), np.asarray(plain))


def test_a_cut_checkpoint_is_told_as_cut(tiny: str) -> None:
    path = Path(tiny)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"teed\.safetensors: cut short: "):
        SketchTeed(weights=tiny)


def test_another_checkpoint_is_refused_by_what_it_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "other.pth")
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"other\.pth.*not a TEED checkpoint .*unknown network"):
        SketchTeed(weights=path)
