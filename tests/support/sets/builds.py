"""Generators that exist in a test only, and rows and configurations for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reid.config import Config, load
from reid.data.images import Pixels, encode_mask, encode_png
from reid.data.shards.schema import Image, Labels, Mask, Sample
from reid.dataset.recipe import Recipe, make_recipe
from reid.dataset.rows import BuildRow
from reid.errors import DataError
from reid.generate import registry
from reid.generate.registry import Generated, GeneratedCaption, GeneratedMask, GeneratorInput
from reid.modality import CAMERA, Modality, Target

LOADED: list[str] = []
"""Names of networks, once for each time they were loaded."""
BATCHES: list[int] = []
"""How many sources each call of a network got."""


@contextmanager
def made_up() -> Iterator[None]:
    """`net_mask` and `net_text` (classes), `flat_tir` (reads NIR) and `cut_sketch` (needs a mask)."""
    before = registry.registry()  # the import of a module registers only once
    LOADED.clear()
    BATCHES.clear()

    @registry.learned_generator("net_mask", Target.MASK, needs_weights=False, license_note="", reads=CAMERA)
    class NetMask:
        def __init__(self, *, device: str = "cpu", level: int = 100) -> None:
            LOADED.append("net_mask")
            self.level = level

        def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
            BATCHES.append(len(sources))
            return [GeneratedMask(next(iter(s.images.values()))[..., 0] > self.level, 0.5) for s in sources]

    @registry.learned_generator("net_text", Target.TEXT, needs_weights=False, license_note="")
    class NetText:
        def __init__(self, *, word: str = "seen", fails: str = "", shy: int = 0) -> None:
            LOADED.append("net_text")
            self.word, self.fails, self.shy = word, fails, shy

        def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
            BATCHES.append(len(sources))
            if any(self.fails and self.fails in s.name for s in sources):
                raise ValueError("no words")
            return [self._say(s) for s in sources]

        def _say(self, source: GeneratorInput) -> GeneratedCaption:
            number = source.rng.integers(1000)
            word = "unknown" if number < self.shy else self.word
            return GeneratedCaption(f"{word} {source.name} {number}", 0.25)

    @registry.generator("flat_tir", Target.TIR, reads=Modality.NIR)
    def flat_tir(pixels: Pixels, rngs: registry.Rngs, *, plus: int = 0) -> Pixels:
        return np.clip(pixels.astype(np.int32) + plus, 0, 255).astype(np.uint8)

    @registry.generator("nir_of_tir", Target.NIR, reads=Modality.TIR)
    def nir_of_tir(pixels: Pixels, rngs: registry.Rngs) -> Pixels:
        return pixels

    @registry.generator("cut_sketch", Target.SKETCH, needs_mask=True)
    def cut_sketch(
        pixels: Pixels, rngs: registry.Rngs, *, mask: registry.MaskArray, refuse: bool = False
    ) -> list[Any] | Pixels:
        if refuse:
            return [DataError("refused") for _ in pixels]
        return pixels * mask[..., None].astype(np.uint8)

    try:
        yield
    finally:
        registry._REGISTRY.clear()
        registry._REGISTRY.update(before)


def build_config(tmp_path: Path, generate: dict[str, Any], **build: Any) -> Config:
    """A configuration with these generators; its data are not read."""
    return load(
        {
            "name": "made",
            "workdir": str(tmp_path),
            "data": {
                "name": "made",
                "reader": {"name": "folder", "path": str(tmp_path / "in")},
                "modalities": "rgb",
            },
            "build": {"generate": generate, **build},
            "model": {"name": "baseline", "fusion": "mean"},
        }
    )


def recipe_of(tmp_path: Path, generate: dict[str, Any], **build: Any) -> Recipe:
    return make_recipe(build_config(tmp_path, generate, **build))


def noise(seed: int, side: int = 16) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def row(number: int, *modalities: Modality, mask: bool = False, side: int = 16, **labels: Any) -> BuildRow:
    """A good row of random pictures (RGB unless others are asked for)."""
    images = {
        m: Image(encode_png(noise(100 * number + i, side)), side, side)
        for i, m in enumerate(modalities or (Modality.RGB,))
    }
    inside: Callable[[], Mask] = lambda: Mask(encode_mask(np.eye(side, dtype=np.bool_)), 1.0)  # noqa: E731
    values = {"sample_id": f"s{number}", "dataset": "made", "split": "train", "pid": number, **labels}
    return BuildRow(
        Sample(Labels(**values), images, mask=inside() if mask else None, content_hash=f"h{number}")
    )
