"""A folder of real trouble: each file is read as what it is, or set aside with its name and a remedy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.images import decode_rgb, is_plain
from reid.data.readers.base import Reader, open_reader
from reid.data.shards.schema import Sample, validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import AnyReIDError
from reid.modality import Modality
from tests.support.sets.pngs import bomb
from tests.support.sets.shards import file_bytes

LIMIT = 1_000_000
GREEN = np.full((12, 8, 3), (20, 180, 60), np.uint8)
NOISE = PILImage.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def rotated() -> bytes:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    return file_bytes(PILImage.fromarray(GREEN), "JPEG", exif=exif, quality=95)


def animated() -> bytes:
    frames = [PILImage.new("RGB", (8, 12), (20, 180, 60)), PILImage.new("RGB", (8, 12), "red")]
    return file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


def thermal() -> bytes:
    return file_bytes(PILImage.fromarray(np.linspace(7000, 9000, 96).reshape(12, 8).astype(np.uint16)))


JPEG = file_bytes(PILImage.fromarray(GREEN), "JPEG", quality=95)
READ = {
    "cmyk.jpg": file_bytes(PILImage.fromarray(GREEN).convert("CMYK"), "JPEG", quality=95),
    "sixteen.png": thermal(),
    "animated.gif": animated(),
    "rotated.jpg": rotated(),
    "jpeg_named.png": JPEG,
    "png_named.jpg": file_bytes(PILImage.fromarray(GREEN)),
    "plain.jpg": JPEG,
}
SET_ASIDE = {
    "truncated.jpg": (file_bytes(NOISE, "JPEG")[:1500], "truncated or corrupt", "get a whole copy"),
    "truncated.png": (file_bytes(NOISE)[:1500], "truncated or corrupt", "get a whole copy"),
    "zero.jpg": (b"", "empty file", "get a whole copy"),
    "bomb.png": (bomb(50_000), "pixels", "shrink it"),
    "text.jpg": (b"this is a letter\nof two lines", "it is text", "leave it out"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo", "convert it to PNG or JPEG"),
}


def reader(path: Path, **fields: Any) -> Reader:
    section = {"name": "folder", "path": str(path), **fields}
    return open_reader(TypeAdapter(ReaderSection).validate_python(section), "own")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample | str]:
    """What a build's reading stage makes of each file: a sample, or why it is set aside."""
    root = tmp_path_factory.mktemp("trouble")
    (root / "7").mkdir()
    for name, data in READ.items():
        (root / "7" / name).write_bytes(data)
    for name, (data, _, _) in SET_ASIDE.items():
        (root / "7" / name).write_bytes(data)
    source = reader(root)
    found: dict[str, Sample | str] = {}
    for record in source.records():
        name = Path(record.images[Modality.RGB]).name
        try:
            found[name] = source.load(record, LIMIT)
        except AnyReIDError as error:
            found[name] = str(error)
    return found


@pytest.mark.filterwarnings("ignore")
def test_no_file_is_passed_over_and_nothing_else_is_raised(outcome: dict[str, Sample | str]) -> None:
    assert set(outcome) == {*READ, *SET_ASIDE}


@pytest.mark.parametrize("name", sorted(SET_ASIDE))
def test_what_cannot_be_read_names_the_file_the_reason_and_a_remedy(
    outcome: dict[str, Sample | str], name: str
) -> None:
    told = outcome[name]
    assert isinstance(told, str)
    _, reason, remedy = SET_ASIDE[name]
    assert f"/7/{name}: " in told and reason in told and remedy in told, told


@pytest.mark.parametrize("name", sorted(READ))
def test_what_can_be_read_is_stored_so_that_every_tool_sees_the_same(
    outcome: dict[str, Sample | str], name: str
) -> None:
    sample = outcome[name]
    assert isinstance(sample, Sample) and validate(sample) == []
    stored = sample.images[Modality.RGB]
    assert is_plain(stored.image)
    shown = np.asarray(PILImage.open(io.BytesIO(stored.image)).convert("RGB"))  # what any tool shows
    assert np.array_equal(shown, decode_rgb(stored.image, name))
    assert shown.shape == (stored.height, stored.width, 3)
    if name == "sixteen.png":
        assert (shown.min(), shown.max()) == (0, 255)
    else:
        assert np.abs(shown.astype(int) - GREEN[0, 0]).max() <= 12
    assert shown.shape[:2] == ((8, 12) if name == "rotated.jpg" else (12, 8))


def test_only_what_needs_it_is_encoded_anew(outcome: dict[str, Sample | str]) -> None:
    kept = {
        name
        for name, sample in outcome.items()
        if isinstance(sample, Sample) and sample.images[Modality.RGB].image == READ[name]
    }
    assert kept == {"plain.jpg", "jpeg_named.png", "png_named.jpg"}


def test_an_id_given_twice_is_set_aside_but_for_the_first(tmp_path: Path) -> None:
    class Twice(Reader):
        def records(self) -> Any:
            return [*source.records(), *source.records()]

    for name in ("a", "b"):
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "1" / f"{name}.jpg").write_bytes(JPEG)
    source = reader(tmp_path)
    (plan,) = plan_shards(Twice(source.config, "own"), {}, 10)
    told = [(r.labels.sample_id, r.problem) for r in plan.records]
    assert [name for name, problem in told if problem is None] == ["1/a", "1/b"]
    assert all("occurs more than once; make ids unique" in p for _, p in told if p)
