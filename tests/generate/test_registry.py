"""Naming, checking and fingerprinting of generators."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.config import GenerateConfig
from reid.errors import ConfigError
from reid.generate import fingerprints
from reid.generate import registry as registry_module
from reid.generate.caption import from_pixels
from reid.generate.registry import (
    BoundGenerator,
    Generated,
    GeneratedMask,
    GeneratorInput,
    bind,
    learned_generator,
    registry,
)
from reid.modality import Modality, Target

NOISE = np.random.default_rng(5).integers(0, 256, (16, 12, 3)).astype(np.uint8)


def bound(name: str, target: Target = Target.SKETCH, **params: Any) -> BoundGenerator:
    return bind(target, GenerateConfig(generator=name, params=params))


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> type:
    """A learned generator, registered for one test."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))

    @learned_generator("mask_threshold", Target.MASK, needs_weights=True, license_note="ours")
    class Threshold:
        def __init__(self, *, weights: str, device: str = "cpu", level: int = 128) -> None:
            self.weights, self.device, self.level = weights, device, level

        def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
            return [GeneratedMask(s.images[Modality.RGB][..., 0] > self.level) for s in sources]

    return Threshold


def test_the_download_free_generators_are_registered_with_what_they_make() -> None:
    makes = {
        Target.SKETCH: ("sketch_dog", "sketch_dodge", "sketch_mix", "sketch_xdog"),
        Target.NIR: ("ir_nir", "ir_gray"),
        Target.TIR: ("ir_tir",),
        Target.MASK: ("mask_prior",),
        Target.TEXT: ("cap_attr",),
    }
    known = registry()
    for target, names in makes.items():
        for name in names:
            assert known[name].targets == {target}
            assert not known[name].needs_weights
            assert known[name].kind == "function"


def test_entries_say_what_they_need_of_a_mask() -> None:
    known = registry()
    assert known["ir_tir"].needs_mask and known["ir_tir"].takes_mask
    assert known["cap_attr"].takes_mask and not known["cap_attr"].needs_mask
    assert known["sketch_dog"].takes_mask and not known["sketch_dog"].needs_mask
    assert not known["ir_nir"].takes_mask


def test_two_generators_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))
    with pytest.raises(ValueError, match="two generators are named 'ir_nir'"):
        learned_generator("ir_nir", Target.NIR, needs_weights=True, license_note="ours")(
            type("Other", (), {})
        )


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
    make = bound(name, Target.NIR)
    first = make(NOISE, "content", 0)
    np.random.default_rng().random(100)
    assert np.array_equal(first, bound(name, Target.NIR)(NOISE, "content", 0))
    assert not np.array_equal(first, make(NOISE, "other", 0))
    assert not np.array_equal(first, make(NOISE, "content", 1))


def test_a_mask_is_given_and_not_configured() -> None:
    with pytest.raises(ConfigError, match=r"params\.mask: unknown key"):
        bound("sketch_dog", mask=True)


def test_a_bound_generator_travels_and_draws_the_same_there() -> None:
    make = bound("ir_nir", Target.NIR, noise=0.1)
    there = pickle.loads(pickle.dumps(make))
    assert there == make
    assert np.array_equal(there(NOISE, "content", 0), make(NOISE, "content", 0))


def test_a_learned_generator_is_built_once_with_its_parameters_and_the_callers_device(
    threshold: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    original = threshold.__init__
    monkeypatch.setattr(
        threshold, "__init__", lambda self, **given: (made.append(given), original(self, **given))[1]
    )
    monkeypatch.setattr(
        threshold.__init__, "__signature__", registry_module.inspect.signature(original), raising=False
    )
    make = bound("mask_threshold", Target.MASK, weights="random", level=7)
    assert make.heavy
    assert not bound("sketch_dog").heavy
    loaded = make.load("meta")
    source = GeneratorInput("a", {Modality.RGB: NOISE}, None, make.rng("a", 0))
    masks = [*loaded([source]), *loaded([source, source])]
    assert len(masks) == 3
    assert all(isinstance(m, GeneratedMask) and np.array_equal(m.mask, NOISE[..., 0] > 7) for m in masks)
    assert made == [{"weights": "random", "level": 7, "device": "meta"}]


def test_the_device_is_no_parameter_and_weights_have_no_default(threshold: type) -> None:
    with pytest.raises(ConfigError, match=r"params\.device: unknown key"):
        bound("mask_threshold", Target.MASK, weights="random", device="cuda")
    with pytest.raises(ConfigError, match=r"params\.weights: missing"):
        bound("mask_threshold", Target.MASK)


def test_the_hash_of_a_learned_generator_follows_the_content_of_its_weights(
    threshold: type, tmp_path: Path
) -> None:
    def hash_of(path: Path) -> str:
        return bound("mask_threshold", Target.MASK, weights=str(path)).params_hash

    file, folder = tmp_path / "a.safetensors", tmp_path / "model"
    folder.mkdir()
    for changed in (file, folder / "model.safetensors"):
        weights = changed if changed == file else folder
        changed.write_bytes(b"first")
        first = hash_of(weights)
        assert hash_of(weights) == first
        changed.write_bytes(b"second one")
        assert hash_of(weights) != first
    assert hash_of(Path("some/name")) != hash_of(Path("other/name"))


def test_the_revision_of_a_cached_name_is_part_of_what_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    absent = fingerprints.weights_print("maker/model")
    head = tmp_path / "models--maker--model" / "refs" / "main"
    head.parent.mkdir(parents=True)
    head.write_text("0123abcd")
    assert "0123abcd" in fingerprints.weights_print("maker/model") != absent


def test_files_of_one_name_have_an_order_in_every_process() -> None:
    """Or the hash of a generator, and with it the name of a set, would be another one in each."""
    code = (
        "from pathlib import Path; from reid.generate import fingerprints; "
        "from reid.generate.infrared import unet; "
        "print([str(p) for p in fingerprints.code_files(Path(unet.__file__))])"
    )
    orders = []
    for seed in "1", "2", "3", "4":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        orders.append(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(set(orders)) == 1 and orders[0].count("unet.py") == 2


def test_changed_code_that_a_generator_imports_changes_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(from_pixels.__file__)
    names = {p.stem for p in fingerprints.code_files(own)}
    assert {"from_pixels", "colours", "border_prior", "filters", "patterns", "sentences"} <= names
    assert not {"registry", "fingerprints", "drawn"} & names
