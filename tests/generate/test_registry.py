"""Naming, checking and fingerprinting of generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reid.config import GenerateConfig
from reid.errors import ConfigError
from reid.generate.base import BoundGenerator, bind, registry
from reid.modality import Modality

NOISE = np.random.default_rng(5).integers(0, 256, (16, 12, 3)).astype(np.uint8)


def bound(name: str, target: Modality = Modality.SKETCH, **params: Any) -> BoundGenerator:
    return bind(target, GenerateConfig(generator=name, params=params))


def test_the_download_free_generators_are_registered_with_what_they_make() -> None:
    known = registry()
    for name in ("sketch_dog", "sketch_dodge", "sketch_mix", "sketch_xdog"):
        assert known[name].targets == {Modality.SKETCH}
    for name in ("ir_nir", "ir_gray"):
        assert known[name].targets == {Modality.NIR}


def test_an_unknown_generator_names_the_nearest_and_the_field() -> None:
    with pytest.raises(ConfigError, match=r"build\.generate\.sketch\.generator.*'sketch_dog'"):
        bound("sketch_dgo")


def test_a_generator_of_another_modality_is_refused() -> None:
    with pytest.raises(ConfigError, match="makes nir, not sketch"):
        bound("ir_nir")


def test_an_unknown_parameter_names_the_nearest_and_the_field() -> None:
    with pytest.raises(ConfigError, match=r"params\.sigm: unknown key\. Did you mean 'sigma'"):
        bound("sketch_dog", sigm=2.0)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sketch_dog", {"sigma": 0.0}),
        ("sketch_dog", {"sigma": "wide"}),
        ("sketch_xdog", {"ink": 101}),
        ("sketch_mix", {"shading": 1.5}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"build\.generate\.sketch\.params\.{next(iter(params))}"):
        bound(name, **params)


def test_defaults_spelled_out_are_the_same_generator() -> None:
    assert bound("sketch_dog").params_hash == bound("sketch_dog", sigma=0.9).params_hash


def test_the_hash_changes_with_a_parameter() -> None:
    assert bound("sketch_dog").params_hash != bound("sketch_dog", sigma=1.0).params_hash


@pytest.mark.parametrize("name", ["ir_nir", "ir_gray"])
def test_a_random_picture_depends_on_content_and_seed_and_on_nothing_else(name: str) -> None:
    make = bound(name, Modality.NIR)
    first = make(NOISE, "content", 0)
    np.random.default_rng().random(100)
    assert np.array_equal(first, bound(name, Modality.NIR)(NOISE, "content", 0))
    assert not np.array_equal(first, make(NOISE, "other", 0))
    assert not np.array_equal(first, make(NOISE, "content", 1))
