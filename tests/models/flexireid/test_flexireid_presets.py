"""FlexiReID's presets and ladder: the paper's sizes and recipe, what the build makes, and rows that build."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from reid.config import Config, load
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality, Target, all_subsets, parse_subset, subset_name
from reid.models.base import ModelContext, ReIDModel
from reid.models.flexireid.model import Config as FlexiReID
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.runs.describe import PUBLISHED, describe_config
from reid.studies.ladders import apply, load_ladder
from reid.studies.ladders.fitting import used_groups, without_idle_groups
from reid.train.optimizer import build_optimizer, learning_rate
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "flexireid.json").read_text())
PAPERS = sorted(GOLDEN["sets"])
LAPTOP = ["synthetic", "synthetic-warm", "grocery"]
ALL = "rgb+nir+sketch+text"
SEVEN = {subset_name(s) for s in all_subsets(parse_subset("nir+sketch+text"))}


@pytest.fixture(autouse=True)
def _grocery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROCERY", "data/grocery")


def shell(config: Config) -> ReIDModel:
    """The model without memory for its weights."""
    data = config.data
    with torch.device("meta"):
        known = PUBLISHED.get(data.name, (10, 4))
        return build_model(config.model, ModelContext(*known, data.height, data.width, data.modalities))


def section(config: Config) -> FlexiReID:
    assert isinstance(config.model, FlexiReID)
    return config.model


@pytest.mark.parametrize("name", PAPERS)
def test_only_the_papers_parts_are_trained_and_they_have_its_sizes(name: str) -> None:
    counts = parameter_counts(shell(load(f"flexireid/{name}")))
    parts = {k: v for k, v in counts["by_module"].items() if k in GOLDEN["parameters"]}
    assert parts == GOLDEN["parameters"]
    assert counts["trainable"] == sum(parts.values())
    for part, millions in GOLDEN["millions"].items():
        found = counts["trainable"] if part == "trainable" else parts[part]
        assert found / 1e6 == pytest.approx(millions, abs=0.05 if millions > 10 else 0.005)
    assert round(counts["total"] / 1e6, 1) == 174.2  # as the presets' comments say


@pytest.mark.parametrize("name", PAPERS)
def test_a_preset_says_what_the_paper_says(name: str) -> None:
    config, told = load(f"flexireid/{name}"), GOLDEN["recipe"]
    model, train = section(config), config.train
    reader, identities = GOLDEN["sets"][name]
    assert (config.name, config.data.reader.name) == (f"flexireid-{name}", reader)
    assert PUBLISHED[config.data.name][0] == identities
    assert [config.data.height, config.data.width] == told["size"]
    assert subset_name(config.data.modalities) == ALL
    assert (train.epochs, train.batch.sampler, train.batch.identities, train.batch.pairing) == (
        told["epochs"],
        "tuple",
        told["identities"],
        "same_id",
    )
    assert (train.optim.name, train.optim.lr, train.optim.weight_decay) == (
        "adam",
        told["lr"],
        told["weight_decay"],
    )
    assert (train.augment.geometry, list(train.augment.erase_area)) == ("independent", told["erase_area"])
    assert (model.weights, model.freeze_backbone, model.infrared) == ("openai", True, "nir")
    assert (model.moe.experts, model.moe.threshold, model.ada_weight) == (
        told["experts"],
        told["threshold"],
        told["ada_weight"],
    )
    assert (model.sdm_scale, model.mode_reduction, model.id_weight) == (GOLDEN["sdm"]["scale"], "sum", 0)
    assert config.evaluate.subsets is not None
    assert (set(config.evaluate.subsets), config.evaluate.gallery) == (SEVEN, "rgb")


def test_rates_follow_the_recipe() -> None:
    config, told = load("flexireid/cuhk-pedes"), GOLDEN["recipe"]
    optim = config.train.optim
    model = shell(config)
    names = {id(p): n for n, p in model.named_parameters()}
    for group in build_optimizer(model, optim).param_groups:
        for p in group["params"]:
            bias = names[id(p)].endswith("bias")
            assert group["lr"] == (told["bias_lr"] if bias else told["lr"])
            assert group["weight_decay"] == (0 if bias else told["weight_decay"])
    assert learning_rate(optim, optim.lr, 0, 60) == pytest.approx(told["lr"] / 10)
    assert learning_rate(optim, optim.lr, 30, 60) == pytest.approx(told["lr"] / 2)
    assert learning_rate(optim, optim.lr, 60, 60) == pytest.approx(0)
    assert optim.warmup_epochs == told["warmup"]


def test_what_a_set_lacks_is_made_from_its_photos_and_never_finds_its_own() -> None:
    for name in ("cuhk-pedes", "icfg-pedes", "rstpreid"):
        config = load(f"flexireid/{name}")
        made = {k: v.generator for k, v in config.build.generate.items()}
        assert made == {Target.SKETCH: "sketch_mix", Target.NIR: "ir_nir"}
        protocol = get_protocol(config.evaluate.protocol)
        assert protocol.keeps_sources((Modality.TEXT,)) and not protocol.keeps_sources((Modality.SKETCH,))
    config = load("flexireid/sysu-mm01")
    made = {k: v.generator for k, v in config.build.generate.items()}
    assert made == {Target.SKETCH: "sketch_mix", Target.TEXT: "cap_attr"}  # infrared is captured
    assert get_protocol(config.evaluate.protocol).name == "sysu_all"


def test_the_other_threshold_of_the_paper_is_a_preset() -> None:
    ours, theirs = (
        load(f"flexireid/{n}").model_dump(mode="json") for n in ("cuhk-pedes-tau04", "cuhk-pedes")
    )
    assert ours["model"]["moe"].pop("threshold") == 0.4
    assert theirs["model"]["moe"].pop("threshold") == 0.6
    assert ours.pop("name") != theirs.pop("name")
    assert ours == theirs


@pytest.mark.parametrize("name", LAPTOP)
def test_the_laptop_presets_build_small_and_freeze_only_pretrained_towers(name: str) -> None:
    config = load(f"flexireid/{name}")
    model, built = section(config), shell(config)
    counts = parameter_counts(built)
    assert counts["total"] < 5_000_000
    assert model.freeze_backbone == (name == "synthetic-warm")
    assert model.freeze_backbone == (model.weights == "run:runs/train/baseline-pretrain")
    assert (counts["trainable"] < counts["total"]) == model.freeze_backbone
    assert config.train.batch.sampler == "tuple"
    if not model.freeze_backbone:
        built.load_pretrained()


def test_the_warm_towers_are_those_of_the_pretraining() -> None:
    warm: Any = load("flexireid/synthetic-warm").model
    base: Any = load("baseline/pretrain").model
    assert (warm.tower, warm.text) == (base.tower, base.text)


def test_describe_tells_the_parameters() -> None:
    tiny = [
        "model.tower={arch: null, patch: 16, width: 32, layers: 1, heads: 2, dim: 16}",
        "model.text={width: 16, layers: 1, heads: 1}",
    ]
    found = describe_config(load("flexireid/cuhk-pedes", tiny))
    assert (found["regime"], found["classes"], found["sample"]) == ("any_to_any", 11003, ALL)
    assert set(found["parameters"]["by_module"]) == {
        "image_tower",
        "text_tower",
        "image_moe",
        "text_moe",
        "fusion",
    }
    assert found["gmac_per_embedding"] < found["gmac_per_sample"]


def resolved(row: str, preset: str = "flexireid/synthetic-warm") -> Config:
    base = load(preset)
    (found,) = load_ladder("flexireid").pick([row])
    return without_idle_groups(apply(base, found), used_groups(base), row)


def test_each_rung_of_the_ladder_adds_its_part() -> None:
    rungs = [row.name for row in load_ladder("flexireid").rows[:6]]
    zero, adapter, moe, ada, cmqf, lef = (resolved(row) for row in rungs)
    assert zero.train.epochs == 0
    sizes = [parameter_counts(shell(c))["total"] for c in (zero, adapter, moe, ada, cmqf, lef)]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3] < sizes[4] == sizes[5] - 3 * 128
    assert section(adapter).moe.experts == 1
    assert [section(c).ada_weight for c in (adapter, moe, ada)] == [0, 0, 0.5]
    assert section(lef) == section(load("flexireid/synthetic-warm"))
    for config in (adapter, moe, ada, cmqf, lef):
        model = shell(config)
        frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
        towers = ("image_tower.", "text_tower.", "class_bias.")
        assert frozen == {n for n, _ in model.named_parameters() if n.startswith(towers)}


@pytest.mark.parametrize("row", [row.name for row in load_ladder("flexireid").rows])
def test_every_row_fits_the_warm_preset_and_the_papers(row: str) -> None:
    for preset in ("flexireid/synthetic-warm", "flexireid/sysu-mm01"):
        config = resolved(row, preset)
        assert build_optimizer(shell(config), config.train.optim).param_groups
