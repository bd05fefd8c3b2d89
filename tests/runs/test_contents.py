"""What may be embedded and compared: every way to hand in a picture gives the same vector."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reid.data.images import SensorSettings, open_image
from reid.errors import DataError, StorageError, UnsupportedPairing, UsageError
from reid.modality import Modality
from reid.runs.contents import Content, encoded_parts, is_file, plain_parts, row_parts
from reid.runs.run import Run, load_run
from tests.support.sets.tiffs import raw_tiff
from tests.support.world import World, make_world, world_config

RGB, NIR, TEXT = Modality.RGB, Modality.NIR, Modality.TEXT
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 30, 3), dtype=np.uint8)


@pytest.fixture
def run(world: World) -> Run:
    return world.run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG whose pixels lie on their side, as cameras write them."""
    path = tmp_path / "photo.jpg"
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(PIXELS).save(path, exif=orientation)
    return path


def upright(path: Path) -> Image.Image:
    return open_image(path.read_bytes(), "photo")


WAYS: dict[str, Callable[[Path], Any]] = {
    "Path": lambda path: path,
    "file uri": lambda path: f"file://{path}",
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "PIL image, not yet upright": lambda path: Image.open(path),
    "PIL image": upright,
    "array": lambda path: np.asarray(upright(path)),
    "array that is a view": lambda path: np.asarray(upright(path).transpose(Image.Transpose.ROTATE_180))[
        ::-1, ::-1
    ],
    "mapping": lambda path: {"rgb": str(path)},
    "mapping by Modality": lambda path: {RGB: path},
    "mapping in capitals": lambda path: {"RGB": path.read_bytes()},
}


@pytest.mark.parametrize("way", WAYS)
def test_one_picture_has_one_vector_however_it_is_given(way: str, run: Run, photo: Path) -> None:
    vector = run.embed(str(photo))
    assert vector.shape == (run.dim,) and vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(run.embed(WAYS[way](photo)), vector, atol=1e-6)
    assert not np.allclose(run.embed(PIXELS), vector, atol=1e-3)  # those lie on their side


def test_a_picture_on_s3_is_read_there(run: Run, photo: Path, bucket: str) -> None:
    from reid import storage

    storage.write_bytes(f"{bucket}/photo.jpg", photo.read_bytes())
    np.testing.assert_allclose(run.embed(f"{bucket}/photo.jpg"), run.embed(photo), atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "I;16", "F"])
def test_a_pillow_image_of_any_mode_is_what_its_file_is(mode: str, run: Run) -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    image = Image.fromarray(PIXELS).convert(mode) if mode not in {"I;16", "F"} else grey.convert("F")
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    np.testing.assert_allclose(run.embed(image), run.embed(stream.getvalue()), atol=1e-6)


def test_one_channel_is_three_equal_ones(run: Run) -> None:
    grey = PIXELS[..., 1]
    np.testing.assert_allclose(run.embed(grey), run.embed(np.stack([grey] * 3, axis=2)), atol=1e-6)


def test_several_captures_give_a_row_each_whatever_they_have(run: Run, photo: Path) -> None:
    contents: list[Content] = [
        photo,
        "a red coat",
        {"rgb": photo, "nir": PIXELS, "text": "a red coat"},
        {NIR: PIXELS},
    ]
    together = run.embed(contents, side="gallery", batch_size=2)
    assert together.shape == (4, run.dim) and together.dtype == np.float32
    alone = np.stack([run.embed(one, side="gallery") for one in contents])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(run.embed(tuple(contents), "gallery", batch_size=1), alone, atol=1e-5)
    assert run.embed([]).shape == (0, run.dim)
    assert run.embed([photo]).shape == (1, run.dim)


def test_parts_come_in_canonical_order_and_files_keep_their_names(photo: Path) -> None:
    content: Content = {"text": "a red coat", "rgb": photo, "nir": PIXELS}
    parts = row_parts(content, "Row 3")
    assert [(m, p.source) for m, p in parts.items()] == [
        (RGB, str(photo)),
        (NIR, "Row 3, nir"),
        (TEXT, "Row 3, text"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red coat", False),
        ("coat", False),
        ("a black/white coat with a bag", False),
        ("He wears a hat.", False),
        ("one line\nand a.jpg", False),
        ("x" * 5000, False),
        ("a null\0character", False),
        ("", False),
        ("photo.jpg", True),
        ("PHOTO 1.JPEG", True),
        ("photos/no_suffix", True),
        ("s3://bucket/key", True),
        ("https://host/a.jpg", True),
        ("here", True),
        ("my folder", True),
    ],
)
def test_which_bare_strings_are_files(
    text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").touch()
    Path("my folder").mkdir()
    assert is_file(text) is expected


def test_under_a_name_there_is_no_doubt(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("plain", "PNG")
    Path("coat").touch()
    assert row_parts({"text": "coat"})[TEXT].content == "coat"
    np.testing.assert_allclose(run.embed({"rgb": "plain"}), run.embed(PIXELS), atol=1e-6)


FLOATS = PIXELS / 255
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "missing file": ("phoot.jpg", DataError, r"rgb: phoot\.jpg: no such file\. Did you mean 'photo\.jpg'\?"),
    "missing folder": ("x/y.jpg", DataError, r"x/y\.jpg: no such file\. There is no folder .*/x\."),
    "sentence as rgb": ({"rgb": "a red coat"}, DataError, r"rgb: a red coat: no such file.*\{'text': …\}"),
    "folder": ({"rgb": "."}, DataError, "a folder, not a picture"),
    "web address": ("https://host/a.jpg", StorageError, "unsupported scheme 'https'"),
    "unknown modality": ({"rbg": PIXELS}, UsageError, r"'rbg'.*Did you mean 'rgb'\?.*Known: rgb, nir, tir"),
    "modality that is no name": ({1: PIXELS}, UsageError, "Modality 1: give its name"),
    "twice": ({"rgb": PIXELS, "RGB": PIXELS}, UsageError, "rgb is given twice"),
    "empty mapping": ({}, UsageError, "empty mapping; give at least one modality"),
    "empty string": (" ", UsageError, "An empty string"),
    "not taken": (
        {"tir": PIXELS},
        UsageError,
        r"does not take tir on the query side.*rgb\+nir\+sketch\+text",
    ),
    "no picture": (b"some words", DataError, r"rgb: not an image.*it is text"),
    "file that is none": ({"nir": "note.txt"}, DataError, r"note\.txt: not an image"),
    "no bytes": (b"", DataError, r"rgb: empty file \(0 bytes\)"),
    "number": (3, DataError, "rgb: an object of type int is no content.*PIL image"),
    "nothing": (None, DataError, "rgb: None is no content"),
    "picture as text": (
        {"text": PIXELS},
        DataError,
        r"text: an object of type numpy\.ndarray is not a sentence",
    ),
    "floats": (FLOATS, DataError, r"array of 60x30x3, float64; a picture is uint8.*\(x \* 255\)\.round\(\)"),
    "integers": (PIXELS.astype(np.int64), DataError, r"int64; a picture is uint8.*astype"),
    "channels first": (PIXELS.transpose(2, 0, 1), DataError, r"3x60x30, uint8; .*x\.transpose\(1, 2, 0\)"),
    "batch": (PIXELS[None], DataError, r"1x60x30x3, uint8; give several pictures as a list"),
    "one channel": (PIXELS[..., :1], DataError, r"60x30x1, uint8; .*x\[\.\.\., 0\]"),
    "transparency": (np.zeros((4, 4, 4), np.uint8), DataError, r"PIL\.Image\.fromarray"),
    "flat": (np.zeros(4, np.uint8), DataError, r"array of 4, uint8; give \(H, W, 3\) or \(H, W\)"),
    "no pixel": (np.zeros((0, 4, 3), np.uint8), DataError, "it has no pixel"),
    "one of several": ([PIXELS, {"nir": b"x"}], DataError, "Row 1, nir: not an image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_embedded_is_told_with_its_remedy(
    case: str, run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("note.txt").write_text("a note")
    content, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        run.embed(content)


def test_a_pillow_image_whose_file_is_cut_off_is_refused(run: Run, photo: Path) -> None:
    image = Image.open(io.BytesIO(photo.read_bytes()[:-600]))
    with pytest.raises(DataError, match="rgb: truncated or corrupt image"):
        run.embed(image)


def test_an_unknown_side_is_refused_before_anything_is_read(run: Run) -> None:
    for method in (lambda: run.embed("missing.jpg", side="galery"), lambda: run.takes("galery")):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"side: 'galery' is neither.*Did you mean 'gallery'\?"):
            method()


def test_a_calibrated_comparison_is_the_likelihood_ratio_of_its_similarity(run: Run, photo: Path) -> None:
    found = run.compare(photo, PIXELS, prior=0.2)
    similarity = float(run.embed(photo, "query") @ run.embed(PIXELS, "gallery"))
    assert found.similarity == pytest.approx(similarity, abs=1e-6)
    assert (found.query_subset, found.gallery_subset, found.prior) == ("rgb", "rgb", 0.2)
    assert run.calibration is not None
    pair = run.calibration.of("rgb", "rgb")
    assert pair is not None and found.calibrated
    assert found.likelihood_ratio == pytest.approx(pair.likelihood_ratio(found.similarity))
    odds = found.likelihood_ratio * 0.2 / 0.8  # type: ignore[operator]
    assert found.probability == pytest.approx(odds / (1 + odds))
    assert "likelihood ratio" in repr(found) and "at prior 0.2" in repr(found)


def test_a_comparison_that_nobody_calibrated_says_why(tmp_path: Path) -> None:
    world = make_world(tmp_path, "train.val.fraction=0")
    found = world.run.compare("a red coat", PIXELS)
    assert (found.query_subset, found.gallery_subset) == ("text", "rgb")
    assert found.likelihood_ratio is found.probability is found.prior is None and not found.calibrated
    assert found.notes == (f"not calibrated ({world.run.folder.why_uncalibrated})",)
    assert repr(found).startswith("<Comparison of text with rgb: similarity ") and "not calibrated (" in repr(
        found
    )


def test_a_prior_is_a_chance(run: Run) -> None:
    for prior in (0, 1, 1.5):
        with pytest.raises(UsageError, match="prior"):
            run.compare(PIXELS, PIXELS, prior)


def test_a_matched_model_compares_what_both_have_and_says_what_it_left_out(
    tmp_path: Path, world: World
) -> None:
    from reid.models.registry import build_model
    from reid.runs.folder import write_run
    from reid.runs.run import model_context

    config = world_config(tmp_path, world.shards, "model.fusion=concat", "data.modalities=rgb+nir")
    model = build_model(config.model, model_context(config, world.run.labels))
    run = load_run(write_run(str(tmp_path / "run"), config, model, world.run.labels, {}).uri)
    other = PIXELS[::-1]
    found = run.compare({"rgb": PIXELS, "nir": PIXELS}, other)
    assert (found.query_subset, found.gallery_subset) == ("rgb", "rgb")
    assert found.similarity == pytest.approx(run.compare(PIXELS, other).similarity, abs=1e-6)
    assert found.notes[0] == "not used: nir of the query"
    with pytest.raises(UnsupportedPairing, match="shares none"):
        run.compare(PIXELS, {"nir": PIXELS})


def test_a_fourth_band_is_a_modality_more_where_the_model_takes_it() -> None:
    bands = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    sensors = SensorSettings(fourth=Modality.NIR)
    given = {Modality.RGB: raw_tiff(bands)}
    parts, notes = plain_parts(given, sensors, [Modality.RGB, Modality.NIR])
    assert list(parts) == [Modality.RGB, Modality.NIR]
    assert notes == ["nir: the fourth band of rgb."]
    shown = parts[Modality.NIR]
    assert isinstance(shown, bytes) and np.array_equal(np.asarray(open_image(shown, "x")), bands[..., 3])
    assert list(plain_parts(given, sensors, [Modality.RGB])[0]) == [Modality.RGB]


def test_a_picture_that_lost_a_part_is_refused_by_its_files_name(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(stream, "JPEG")
    file = tmp_path / "cut.jpg"
    file.write_bytes(stream.getvalue()[:-600] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"cut\.jpg: a part of the JPEG is lost"):
        encoded_parts(file)
