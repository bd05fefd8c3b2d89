"""What a loaded generator does with many sources: stacks of one size, order, and one bad row among good."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from reid.config import GenerateConfig
from reid.errors import DataError
from reid.generate import registry as registry_module
from reid.generate.registry import (
    Generated,
    GeneratedCaption,
    GeneratedMask,
    GeneratorInput,
    MaskArray,
    Rngs,
    bind,
    generator,
    registry,
)
from reid.modality import Modality, Target

Pixels = npt.NDArray[np.uint8]
SHAPES = [(33, 20), (1, 1), (33, 20), (7, 300), (128, 64), (33, 20), (1, 1), (128, 64), (33, 20), (20, 33)]
FORMULAS = [
    "sketch_dog",
    "sketch_dodge",
    "sketch_mix",
    "sketch_xdog",
    "ir_nir",
    "ir_gray",
    "ir_tir",
    "mask_prior",
    "cap_attr",
]


def picture(index: int, shape: tuple[int, int]) -> Pixels:
    """A blob of one colour on another, with noise."""
    rng = np.random.default_rng(index)
    rows, columns = (np.linspace(-1, 1, n) for n in shape)
    blob = (rows[:, None] ** 2 + 2 * columns**2 < 0.6)[..., None]
    flat = np.where(blob, rng.integers(0, 256, 3), rng.integers(0, 256, 3))
    return np.clip(flat + rng.normal(0, 9, (*shape, 3)), 0, 255).astype(np.uint8)


def sources(make: registry_module.BoundGenerator, masks: str) -> list[GeneratorInput]:
    """One source a shape; masks for all of them, some or none."""
    found = []
    for i, shape in enumerate(SHAPES):
        has = masks == "all" or (masks == "some" and i % 3 == 0)
        mask = np.random.default_rng(i).random(shape) < 0.7 if has else None
        found.append(GeneratorInput(f"s{i}", {Modality.RGB: picture(i, shape)}, mask, make.rng(f"s{i}", 0)))
    return found


def same(one: Generated, other: Generated) -> bool:
    if isinstance(one, GeneratedMask) and isinstance(other, GeneratedMask):
        return np.array_equal(one.mask, other.mask) and one.score == other.score
    if isinstance(one, GeneratedCaption):
        return one == other
    return np.array_equal(one, other)  # type: ignore[arg-type]


def named(name: str, **params: bool) -> registry_module.BoundGenerator:
    (target,) = registry()[name].targets
    return bind(target, GenerateConfig(generator=name, params=params))


@pytest.mark.parametrize("masks", ["all", "some", "none"])
@pytest.mark.parametrize("name", [*FORMULAS, "loosened"])
def test_a_batch_of_many_sizes_gives_each_what_it_would_get_alone_in_order(name: str, masks: str) -> None:
    make = named("sketch_dog", loosen=True) if name == "loosened" else named(name)
    if make.entry.needs_mask:
        masks = "all"
    together = make.load()(sources(make, masks))
    alone = [make.load()([source])[0] for source in sources(make, masks)]
    assert len(together) == len(SHAPES)
    for one, other, shape in zip(together, alone, SHAPES, strict=True):
        assert same(one, other)
        if not isinstance(one, GeneratedCaption):
            assert (one.mask if isinstance(one, GeneratedMask) else np.asarray(one)).shape[:2] == shape


def test_equal_sizes_are_handed_over_together_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))
    monkeypatch.setattr(registry_module, "STACK_PIXELS", 2 * 33 * 20)

    @generator("sketch_spy", Target.SKETCH)
    def spy(pixels: Pixels, rngs: Rngs, *, mask: MaskArray | None = None) -> Pixels:
        seen.append(pixels.shape)
        return pixels[..., 0]

    make = named("sketch_spy")
    make.load()(sources(make, "none"))
    assert seen == [
        (2, 33, 20, 3),
        (2, 33, 20, 3),
        (2, 1, 1, 3),
        (1, 7, 300, 3),
        (1, 128, 64, 3),
        (1, 128, 64, 3),
        (1, 20, 33, 3),
    ]


def test_a_picture_that_a_formula_refuses_leaves_the_others_as_they_would_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))

    @generator("sketch_picky", Target.SKETCH)
    def picky(pixels: Pixels, rngs: Rngs, *, strict: bool = True) -> Pixels:
        made = np.stack([rng.integers(0, 256, p.shape[:2]) for p, rng in zip(pixels, rngs, strict=True)])
        if strict and (pixels == 7).all(axis=(1, 2, 3)).any():
            raise ValueError("seven")
        return made.astype(np.uint8)

    def batch(make: registry_module.BoundGenerator) -> list[GeneratorInput]:
        return [
            GeneratorInput(
                str(i), {Modality.RGB: np.full((4, 4, 3), i, np.uint8)}, None, np.random.default_rng(i)
            )
            for i in range(6, 10)
        ]

    strict, lenient = named("sketch_picky"), named("sketch_picky", strict=False)
    made, wanted = strict.load()(batch(strict)), lenient.load()(batch(lenient))
    assert isinstance(made[1], DataError) and "seven" in str(made[1])
    assert [i for i in range(4) if same(made[i], wanted[i])] == [0, 2, 3]


def test_a_source_without_what_is_read_or_needed_gets_a_reason() -> None:
    make = named("ir_tir")
    pixels = picture(0, (9, 5))
    batch = [
        GeneratorInput("no-mask", {Modality.RGB: pixels}, None, make.rng("", 0)),
        GeneratorInput("no-photo", {Modality.NIR: pixels}, np.ones((9, 5), bool), make.rng("", 0)),
        GeneratorInput("other-size", {Modality.RGB: pixels}, np.ones((9, 6), bool), make.rng("", 0)),
        GeneratorInput("good", {Modality.RGB: pixels}, np.ones((9, 5), bool), make.rng("", 0)),
    ]
    no_mask, no_photo, other_size, good = make.load()(batch)
    assert isinstance(no_mask, DataError) and "no-mask: ir_tir needs a mask" in str(no_mask)
    assert isinstance(no_photo, DataError) and "no-photo: ir_tir reads rgb" in str(no_photo)
    assert isinstance(other_size, DataError) and "other-size: the mask is (9, 6)" in str(other_size)
    assert isinstance(good, np.ndarray)
    assert make.load()([]) == []
    with pytest.raises(DataError, match="needs a mask"):
        make(pixels, "no-mask", 0)
