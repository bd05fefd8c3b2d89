"""Version 2 of the rendered set: one geometry in every modality, each with its own tone, as far as asked."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reid.data.synthetic.version2 import (
    PICTURES,
    SHARING,
    Version2Capture,
    Version2Config,
    make_figure,
    render,
)

SMALL = Version2Config(height=64, width=32)
CLEAN = replace(SMALL, difficulty=0.0)
PUBLISHED = [[77, 119, 93, 181, 165, 3252], [83, 110, 64, 210, 207, 3386]]
CAMERAS = ("rgb", "nir", "tir", "depth")


def digest(capture: Version2Capture) -> str:
    pixels = b"".join(p.tobytes() for p in (*capture.pictures.values(), capture.mask))
    words = repr((capture.captions, capture.attributes, capture.conditions, capture.timestamp))
    return hashlib.sha256(pixels + words.encode()).hexdigest()


def figure_of(picture: Any) -> Any:
    """Where the picture differs from its upper left corner, which shows the neutral wall."""
    values = picture.astype(int).reshape(*picture.shape[:2], -1)
    return np.abs(values - values[0, 0]).max(-1) > (24 if picture.dtype == np.uint8 else 500)


def edges_of(picture: Any) -> Any:
    """Strength of edges about each block of 4 x 4 pixels, as one centred vector of unit norm."""
    grey = picture.astype(float).reshape(*picture.shape[:2], -1).mean(-1)
    down, across = np.gradient(grey)
    strength = np.minimum(np.hypot(down, across) / (np.hypot(down, across).mean() + 1e-9), 4.0)
    blocks = strength.reshape(16, 4, 8, 4).mean((1, 3)).ravel()
    return (blocks - blocks.mean()) / np.linalg.norm(blocks - blocks.mean())


@pytest.mark.parametrize(("kind", "height", "width"), [("person", 64, 32), ("vehicle", 48, 64)])
def test_shapes_and_types(kind: Any, height: int, width: int) -> None:
    config = Version2Config(kind=kind, height=height, width=width)
    for pid in range(4):
        capture = render(config, pid, pid % 4, pid)
        assert tuple(capture.pictures) == PICTURES
        for name, picture in capture.pictures.items():
            assert picture.shape == ((height, width, 3) if name in ("rgb", "cp") else (height, width))
            assert picture.dtype == (np.uint16 if name == "depth" else np.uint8)
            assert picture.flags.c_contiguous
        assert 0.05 < capture.mask.mean() < 0.95
        assert all(caption.endswith(".") for caption in capture.captions)


def test_a_capture_is_a_function_of_seed_identity_camera_and_number() -> None:
    first = digest(render(SMALL, 7, 1, 0))
    for pid in (9, 2):
        render(SMALL, pid, 0, 0)
    make_figure.__globals__["_figure"].cache_clear()
    assert digest(render(SMALL, 7, 1, 0)) == first
    assert digest(render(replace(SMALL, id_offset=5), 7, 1, 0)) == first
    others = (render(replace(SMALL, seed=1), 7, 1, 0), render(SMALL, 7, 2, 0), render(SMALL, 7, 1, 1))
    assert len({first, *map(digest, others)}) == 4


def test_the_pixels_are_those_of_the_day_they_were_published() -> None:
    captures = [render(replace(SMALL, kind=kind), 3, 0, 0) for kind in ("person", "vehicle")]
    assert [[int(p.mean()) for p in c.pictures.values()] for c in captures] == PUBLISHED


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_does_not_depend_on_which_others_are_asked_for(name: str) -> None:
    alone, among = render(SMALL, 4, 2, 1, [name]), render(SMALL, 4, 2, 1)
    assert np.array_equal(alone.pictures[name], among.pictures[name])
    assert np.array_equal(alone.mask, among.mask) and alone.captions == among.captions


@pytest.mark.parametrize("kind", ["person", "vehicle"])
def test_every_camera_shows_the_same_silhouette(kind: Any) -> None:
    config = replace(CLEAN, kind=kind, width=32 if kind == "person" else 64)
    for pid in range(8):
        capture = render(config, pid, 0, 0)
        for name in CAMERAS:
            seen = figure_of(capture.pictures[name]) & capture.mask
            # A garment may be as bright as the wall in one band, and the thermal camera blurs rims.
            assert (figure_of(capture.pictures[name]) & ~capture.mask).mean() < 0.09, (pid, name)
            assert seen.sum() > 0.4 * capture.mask.sum(), (pid, name)
        depth = figure_of(capture.pictures["depth"])
        assert (depth & capture.mask).sum() / (depth | capture.mask).sum() > 0.95


def test_edges_cross_from_every_modality_to_rgb_and_not_without_shared_cues() -> None:
    def own_rank(config: Version2Config, name: str) -> float:
        """Mean place, from 0 to 1, of an identity's own photo when ranked by edges."""
        pids = range(30)
        photos = np.array([edges_of(render(config, p, 0, 0, ["rgb"]).pictures["rgb"]) for p in pids])
        asked = np.array([edges_of(render(config, p, 1, 0, [name]).pictures[name]) for p in pids])
        scores = asked @ photos.T
        return float(np.mean(scores > scores.diagonal()[:, None]))

    apart = replace(CLEAN, shared_cues=dict.fromkeys(SHARING, 0.0))
    for name in ("nir", "tir", "sketch", "depth"):
        assert own_rank(CLEAN, name) < 0.25, name
        assert own_rank(apart, name) > 0.35, name


def test_shared_cues_are_set_by_modality() -> None:
    config = replace(SMALL, shared_cues={"nir": 0.0, "tir": 0.5})
    apart = [make_figure(config, pid, "nir").shape != make_figure(config, pid).shape for pid in range(5)]
    assert all(apart)
    kept = [
        value == make_figure(config, pid).traits[trait]
        for pid in range(20)
        for trait, value in make_figure(config, pid, "tir").traits.items()
    ]
    assert 0.55 < np.mean(kept) < 0.9  # a half, and what agrees by chance
    assert make_figure(config, 3, "sketch") is make_figure(config, 3)
    other, usual = render(config, 3, 0, 0), render(SMALL, 3, 0, 0)
    for name in PICTURES:
        same = np.array_equal(other.pictures[name], usual.pictures[name])
        assert same == (name not in ("nir", "tir")), name


def test_near_infrared_and_heat_are_no_functions_of_colour() -> None:
    found: dict[str, list[Any]] = {}
    for pid in range(200):
        surface = make_figure(SMALL, pid).surfaces["upper"]
        found.setdefault(surface.color, []).append((sum(surface.paint.base[:3]), *surface.paint.base[3:]))
    tones = np.array([row for rows in found.values() for row in rows])
    assert np.abs(np.corrcoef(tones.T)[0, 1:]).max() < 0.25
    for color, rows in found.items():
        if len(rows) >= 10:
            assert np.std(rows, axis=0)[1:].min() > 0.05, color


def test_another_colour_changes_neither_infrared_nor_depth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = render(CLEAN, 2, 0, 0)
    figure = make_figure(CLEAN, 2)
    upper = figure.surfaces["upper"]
    base = (0.9, 0.1, 0.9, *upper.paint.base[3:])
    dyed = replace(upper, color="white", paint=replace(upper.paint, base=base))
    assert upper.color != "white"
    other = replace(figure, surfaces={**figure.surfaces, "upper": dyed})
    monkeypatch.setattr("reid.data.synthetic.version2.make_figure", lambda *_: other)
    changed = render(CLEAN, 2, 0, 0)
    for name in PICTURES:
        same = np.array_equal(changed.pictures[name], usual.pictures[name])
        assert same == (name not in ("rgb", "sketch", "cp")), name


def test_difficulty_zero_has_no_nuisances() -> None:
    first, other = render(CLEAN, 6, 0, 0), render(CLEAN, 6, 3, 5)
    for name in ("rgb", "nir", "tir"):
        assert np.array_equal(first.pictures[name], other.pictures[name]), name


def test_depth_is_millimetres_and_holes_are_zero() -> None:
    depth = render(SMALL, 1, 0, 0, ["depth"]).pictures["depth"]
    known = depth[depth > 0]
    assert 0.0 < np.mean(depth == 0) < 0.2
    assert known.min() > 1000 and known.max() < 10_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"nir": 1.5}, r"nir must lie in \[0, 1\]"), ({"text": 0.5}, "'text' is none of nir")],
)
def test_senseless_shares_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Version2Config(shared_cues=wrong)


def test_unknown_cameras_pictures_and_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="camid"):
        render(SMALL, 0, 4, 0)
    with pytest.raises(ValueError, match="no picture is called 'xray'"):
        render(SMALL, 0, 0, 0, ["xray"])
    with pytest.raises(ValueError, match="id_offset"):
        render(replace(SMALL, id_offset=9), 3, 0, 0)
