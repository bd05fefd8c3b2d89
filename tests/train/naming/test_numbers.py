"""The code's part of a run's name: kept by edits that change no number, changed by another formula."""

from __future__ import annotations

import pytest
import torch

from reid.config import load, presets
from reid.models.registry import model_names
from reid.nn.bnneck import BNNeck
from reid.train.naming import numbers as naming
from reid.train.naming.numbers import code_fingerprint, numbers, rounded, source_of
from tests.support.tiny_configs import config_of

ONE_OF_EACH = tuple(next(p for p in presets() if p.startswith(f"{name}/")) for name in model_names())


@pytest.fixture(autouse=True)
def _no_memory() -> None:
    naming._of.cache_clear()


def edited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a line of the source were another."""
    monkeypatch.setattr(naming, "source_hash", lambda *names: "edited")


@pytest.mark.parametrize("preset", ONE_OF_EACH)
def test_every_system_is_known_by_its_numbers(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(preset)
    before = code_fingerprint(config)
    assert before != source_of(config)
    edited(monkeypatch)
    assert code_fingerprint(config) == before


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_known_by_its_numbers(preset: str) -> None:
    config = load(preset)
    assert code_fingerprint(config) != source_of(config)


def test_another_formula_is_another_code(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("/w")
    before = code_fingerprint(config)
    loss = BNNeck.loss
    monkeypatch.setattr(BNNeck, "loss", lambda self, *given: 1.001 * loss(self, *given))
    edited(monkeypatch)
    assert code_fingerprint(config) != before


def test_numbers_of_more_threads_are_the_same_to_many_digits() -> None:
    config = config_of("/w")
    plain = config.train.optim
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(numbers(config.model, config.data.modalities, plain))
    torch.set_num_threads(1)
    assert found[0] == pytest.approx(found[1], rel=1e-10, abs=1e-12)


def test_it_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    code_fingerprint(config_of("/w"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_default_dtype() is torch.float32
    assert torch.ones(1).double().float().dtype is torch.float32


def test_a_system_too_large_to_run_is_known_by_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "LARGEST", 10)
    config = config_of("/w")
    assert code_fingerprint(config) == source_of(config)


def test_rounding_forgives_the_last_digits_and_noise_around_nothing() -> None:
    assert rounded(0.1234561) == rounded(0.1234562)
    assert rounded(1e-15) == rounded(-1e-16) == "0"
    assert rounded(0.12345) != rounded(0.12355)
