"""MixER's presets: the paper's sizes, its products, and the recipe of SAAI that they follow."""

from __future__ import annotations

import json

import pytest
import torch
import torchvision

from reid.config import Config, load
from reid.config.typed import check
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import parse_subset
from reid.models.base import ModelContext, ReIDModel
from reid.models.mixer.model import Config as MixerConfig
from reid.models.mixer.model import Model
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.runs.describe import PUBLISHED, gmac
from reid.runs.untrained import untrained_model as ladder_shell
from reid.studies.ladders import apply, load_ladder
from reid.train.optimizer import build_optimizer, learning_rate
from tests.support.places import GOLDEN_FOLDER, ROOT

GOLDEN = json.loads((GOLDEN_FOLDER / "mixer.json").read_text())
BOTH = parse_subset("rgb+nir")
LAPTOP = ("synthetic", "synthetic-warm", "grocery")


def model_of(backbone: str, **fields: object) -> Model:
    """A model of the paper's sizes, without memory for its weights."""
    section = check(MixerConfig, {"backbone": backbone, **fields}, "model")
    height, width = GOLDEN["size"][backbone]
    with torch.device("meta"):
        return Model(section, ModelContext(GOLDEN["identities"], 6, height, width, BOTH))


def shell(config: Config) -> ReIDModel:
    data = config.data
    known = PUBLISHED.get(data.name, (50, 4))
    with torch.device("meta"):
        return build_model(config.model, ModelContext(*known, data.height, data.width, data.modalities))


@pytest.fixture(autouse=True)
def grocery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROCERY", "unused")


@pytest.mark.parametrize("backbone", sorted(GOLDEN["totals"]))
def test_totals_are_the_papers_but_for_a_head_that_nothing_uses(backbone: str) -> None:
    total = parameter_counts(model_of(backbone))["total"]
    assert total == GOLDEN["totals"][backbone]
    counted = (total + GOLDEN["unused_head"].get(backbone, 0)) / 1e6
    decimals = 4 if backbone.startswith("resnet") else 3
    assert round(counted, decimals) == GOLDEN["predicted_millions"][backbone]
    if backbone in GOLDEN["published_millions"]:
        assert round(counted, 2) == GOLDEN["published_millions"][backbone]


def test_the_total_is_made_of_a_backbone_two_more_last_stages_and_five_classifier_units() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.resnet50(weights=None)
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in theirs.named_children()}
    backbone = sum(sizes.values()) - sizes["fc"]
    mam = sum(2 * c * c // 16 for c in (1024, 2048))
    small = 2 * 2 * 2048 + 2048 * 2 + 2  # two norms and W
    units = 5 * 2048 * GOLDEN["identities"]
    assert GOLDEN["totals"]["resnet50"] == backbone + 2 * sizes["layer4"] + mam + units + small


def test_the_light_layout_has_the_size_that_the_paper_excludes() -> None:
    total = parameter_counts(model_of("resnet50", branch_layout="e_r"))["total"]
    assert round(total / 1e6, 1) == GOLDEN["two_copies_millions"]
    shared = parameter_counts(model_of("resnet50", branch_layout="e_r_base"))["total"]
    assert shared - GOLDEN["totals"]["resnet50"] == 2048 * GOLDEN["identities"] + 2 * 2048


def test_a_picture_costs_three_last_stages_as_counted_and_two_as_routed() -> None:
    model = model_of("resnet50").to_empty(device="cpu")
    backbone, last = GOLDEN["gmac"]["backbone"], GOLDEN["gmac"]["last_stage"]
    assert gmac(model, BOTH, 288, 144, prune=False) / 2 == pytest.approx(backbone + 2 * last, abs=0.01)
    assert gmac(model, BOTH, 288, 144) / 2 == pytest.approx(backbone + last, abs=0.01)


@pytest.mark.parametrize("name", sorted(GOLDEN["presets"]))
def test_a_preset_says_what_the_recipe_says(name: str) -> None:
    config, told = load(f"mixer/{name}"), GOLDEN["presets"][name]
    assert config.name == f"mixer-{name}"
    assert isinstance(config.model, MixerConfig)
    assert (config.model.infrared, config.model.backbone) == (told["infrared"], told["backbone"])
    assert config.model.weights == "IMAGENET1K_V1"
    weights = {k: getattr(config.model, f"{k}_weight") for k in GOLDEN["weights"]}
    assert weights == GOLDEN["weights"]
    assert config.data.modalities == parse_subset(f"rgb+{told['infrared']}")
    assert (config.data.height, config.data.width) == (288, 144)
    assert config.data.mean == (0.485, 0.456, 0.406)
    batch, augment, optim = config.train.batch, config.train.augment, config.train.optim
    assert [batch.sampler, batch.identities, batch.instances] == ["cross", *told["batch"]]
    assert (augment.flip, augment.pad, augment.pad_mode, augment.erase) == (0.5, 10, "symmetric", 0.5)
    assert augment.random_channel == pytest.approx(3 / 11, abs=1e-4)
    assert (optim.name, optim.lr, optim.weight_decay, config.train.epochs) == ("adam", 3.5e-4, 5e-4, 160)
    rates = [learning_rate(optim, optim.lr, n, 160) / optim.lr for n in (1, 5, 10, 79, 80, 119, 120, 160)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert get_protocol(config.evaluate.protocol).name == told["protocol"]
    assert PUBLISHED[config.data.name][0] == told["identities"]


@pytest.mark.parametrize("name", [*sorted(GOLDEN["presets"]), *LAPTOP])
def test_a_presets_comment_tells_its_parameters_and_its_model_can_be_trained(name: str) -> None:
    config = load(f"mixer/{name}")
    model = shell(config)
    assert len(build_optimizer(model, config.train.optim).param_groups) > 0
    path = ROOT / "reid" / "config" / "presets" / "mixer" / f"{name}.yaml"
    if name not in LAPTOP:
        assert f"{parameter_counts(model)['total']:,}" in path.read_text()


def test_the_warm_preset_starts_where_the_pretrained_tower_ends() -> None:
    warm, pretrained = load("mixer/synthetic-warm").model, load("baseline/pretrain").model
    assert isinstance(warm, MixerConfig)
    theirs = pretrained.model_dump()["tower"]
    assert warm.tower.model_dump() == theirs
    assert warm.weights == "run:runs/train/baseline-pretrain"


@pytest.mark.parametrize("preset", ["synthetic", "synthetic-warm", "sysu-mm01"])
def test_every_row_of_the_ladder_makes_a_model_and_none_is_another_twice(preset: str) -> None:
    base = load(f"mixer/{preset}")
    ladder = load_ladder("mixer")
    resolved = {row.name: apply(base, row) for row in ladder.rows}
    for config in resolved.values():
        assert build_optimizer(ladder_shell(config), config.train.optim)
    names = [row.name for row in ladder.rows]
    assert names[0] == "one branch"
    assert resolved["MixER"] == base
    models = {name: config.model.model_dump_json() for name, config in resolved.items()}
    own = {"synthetic": "ResNet-18", "synthetic-warm": "norms of each modality", "sysu-mm01": "ResNet-50"}
    different = [models[name] for name in names if name != own[preset]]
    assert len(set(different)) == len(different)
