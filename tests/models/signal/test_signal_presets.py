"""Signal's presets: the paper's sizes to the parameter, its products, and its released recipes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from reid.config import Config, load
from reid.modality import CAMERA, Modality
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.models.signal.model import Config as Signal
from reid.nn.parameters import parameter_counts
from reid.runs.describe import PUBLISHED, gmac
from reid.train.optimizer import build_optimizer
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "signal.json").read_text())
OFF = {"enabled": False}


def shell(config: Config) -> ReIDModel:
    """The model without memory for its weights."""
    data = config.data
    with torch.device("meta"):
        return build_model(
            config.model,
            ModelContext(*PUBLISHED[data.name], data.height, data.width, data.modalities),
        )


def section(config: Config) -> Signal:
    assert isinstance(config.model, Signal)
    return config.model


@pytest.mark.parametrize("name", sorted(GOLDEN["totals"]))
def test_a_preset_has_exactly_the_parameters_of_the_paper(name: str) -> None:
    model = shell(load(f"signal/{name}"))
    counts = parameter_counts(model)
    assert counts["total"] == GOLDEN["totals"][name]
    assert counts["trainable"] == counts["total"] - GOLDEN["frozen_biases"]
    assert model.dim == 3072


def test_the_modules_of_the_public_code_are_counted_apart() -> None:
    counts = parameter_counts(shell(load("signal/rgbnt201-official")))["by_module"]
    assert {name: counts[name] for name in GOLDEN["modules"]} == GOLDEN["modules"]


@pytest.mark.parametrize("parts", sorted(GOLDEN["ablation_trainable_millions"]))
def test_the_papers_ablation_has_the_published_trainable_parameters(parts: str) -> None:
    off = [f"model.{p}.enabled=false" for p in ("sim", "gam", "lam") if p not in parts.split("+")]
    counts = parameter_counts(shell(load("signal/rgbnt201-official", off)))
    expected = GOLDEN["ablation_trainable_millions"][parts]
    assert counts["trainable"] / 1e6 == pytest.approx(expected, abs=5e-5)


def test_a_capture_costs_the_products_of_the_public_code_and_an_embedding_those_without_lam() -> None:
    model = shell(load("signal/rgbnt201-official")).to_empty(device="cpu")
    assert gmac(model, CAMERA, 256, 128, prune=False) == pytest.approx(GOLDEN["gmac"], abs=5e-4)
    lam = 3 * (2 * 128 * 512**2 + 8 * 16 * 512 + 8 * 512) / 1e9
    assert gmac(model, CAMERA, 256, 128) == pytest.approx(GOLDEN["gmac"] - lam, abs=5e-4)


@pytest.mark.parametrize("name", sorted(GOLDEN["recipes"]))
def test_a_preset_says_what_the_released_configuration_says(name: str) -> None:
    config, told = load(f"signal/{name}"), GOLDEN["recipes"][name]
    model, train = section(config), config.train
    assert (model.sim.k1, model.gam.weight, model.lam.weight) == (told["k1"], told["gam"], told["lam"])
    assert (model.heads, model.id_weight, model.triplet_weight) == (told["heads"], 0.25, 1.0)
    assert [train.batch.identities, train.batch.instances] == told["batch"]
    assert (train.epochs, train.optim.lr, train.optim.warmup_epochs) == (
        told["epochs"],
        told["lr"],
        told["warmup"],
    )
    assert (train.optim.name, train.optim.schedule) == ("adam", told["schedule"])
    assert config.data.modalities == CAMERA
    assert config.data.name == name


@pytest.mark.parametrize("name", sorted(GOLDEN["peaks"]))
def test_every_parameter_peaks_at_the_released_rate(name: str) -> None:
    config = load(f"signal/{name}")
    model = shell(config)
    peaks = {
        id(p): group["peak_lr"]
        for group in build_optimizer(model, config.train.optim).param_groups
        for p in group["params"]
    }
    found = {n: peaks[id(p)] for n, p in model.named_parameters() if n in GOLDEN["peaks"][name]}
    assert found == pytest.approx(GOLDEN["peaks"][name])


@pytest.mark.parametrize("name", sorted(GOLDEN["recipes"]))
def test_official_presets_differ_in_arithmetic_only(name: str) -> None:
    ours, official = (load(f"signal/{n}").model_dump(mode="json") for n in (name, f"{name}-official"))
    cosine = GOLDEN["recipes"][name]["schedule"] == "cosine"
    expected: dict[str, Any] = {
        "name": f"signal-{name}-official",
        "model.sim.projections": "learned",
        "model.gam.floor": 0.0,
        "model.gam.epsilon": 0.0,
        "train.find_unused_parameters": True,
        **({"train.optim.noise": 0.67, "train.optim.per": "epoch"} if cosine else {}),
    }
    assert dict(differences(ours, official)) == expected


def differences(ours: Any, theirs: Any, path: str = "") -> list[tuple[str, Any]]:
    """Dotted fields of the second tree that differ from the first's."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted({*ours, *theirs})
        return [d for k in keys for d in differences(ours.get(k), theirs.get(k), f"{path}.{k}".lstrip("."))]
    return [] if ours == theirs else [(path, theirs)]


@pytest.mark.parametrize(
    ("name", "modalities"),
    [("synthetic", CAMERA), ("grocery", (Modality.RGB, Modality.NIR, Modality.SKETCH))],
)
def test_the_laptop_presets_build_from_their_own_data(
    name: str, modalities: tuple[Modality, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROCERY", "data/grocery")
    config, base = load(f"signal/{name}"), load(f"baseline/{name}")
    model = build_model(
        config.model, ModelContext(10, 2, config.data.height, config.data.width, config.data.modalities)
    )
    assert model.query_modalities == frozenset(modalities)
    assert config.data.reader == base.data.reader
    assert config.build == base.build
    assert config.evaluate.protocol == base.evaluate.protocol
    assert parameter_counts(model)["total"] < 2_000_000
