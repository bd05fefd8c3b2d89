"""STMI's presets and ladder: sizes, published recipes, and rates that let the strengths move."""

from __future__ import annotations

import json

import pytest
import torch

from reid.config import Config, load
from reid.generate.registry import bind
from reid.modality import CAMERA, Modality, Target
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.models.stmi.model import Config as Stmi
from reid.nn.parameters import parameter_counts
from reid.runs.describe import PUBLISHED
from reid.studies.ladders import apply, load_ladder
from reid.studies.ladders.fitting import used_groups, without_idle_groups
from reid.train.optimizer import build_optimizer, learning_rate
from tests.support.places import GOLDEN_FOLDER, ROOT

GOLDEN = json.loads((GOLDEN_FOLDER / "stmi.json").read_text())
PAPERS = sorted(GOLDEN["recipes"])


def shell(config: Config) -> ReIDModel:
    """The model without memory for its weights."""
    data = config.data
    with torch.device("meta"):
        return build_model(
            config.model,
            ModelContext(*PUBLISHED.get(data.name, (10, 4)), data.height, data.width, data.modalities),
        )


def section(config: Config) -> Stmi:
    assert isinstance(config.model, Stmi)
    return config.model


@pytest.mark.parametrize("name", PAPERS)
def test_a_preset_has_the_parameters_that_its_parts_add_up_to(name: str) -> None:
    counts = parameter_counts(shell(load(f"stmi/{name}")))
    classes, cameras = GOLDEN["classes"][name], GOLDEN["cameras"][name]
    width, joined = 768, 3 * 512
    heads = (2 * joined + 512) * (classes + 2)  # a classifier, a scale and a frozen shift each
    expected = GOLDEN["modules"] | {"class_bias": cameras * width, "heads": heads}
    assert counts["by_module"] == expected
    assert counts["total"] == sum(expected.values())
    assert counts["total"] - counts["trainable"] == 2 * joined + 512
    text = (ROOT / "reid" / "config" / "presets" / "stmi" / f"{name}.yaml").read_text()
    assert f"{counts['total']:,} parameters" in text


@pytest.mark.parametrize("name", PAPERS)
def test_a_preset_says_what_the_paper_says(name: str) -> None:
    config, told = load(f"stmi/{name}"), GOLDEN["recipes"][name]
    model, train = section(config), config.train
    assert [train.batch.identities, train.batch.instances] == told["batch"]
    assert [config.data.height, config.data.width] == told["size"]
    assert config.evaluate.protocol == told["protocol"]
    assert config.data.modalities == CAMERA
    assert config.data.mean == config.data.std == (0.5, 0.5, 0.5)
    assert (model.semantic.tokens, model.sfm.scope, model.chi.layers) == (4, "layer", 1)
    assert (model.weights, model.margin, model.text_trainable, model.retrieval) == ("openai", None, True, "U")
    assert train.augment.geometry == "shared", "one mask serves all modalities"
    assert (train.augment.flip, train.augment.pad, train.augment.erase) == (0.5, 10, 0.5)
    assert (train.optim.name, train.optim.weight_decay) == ("adam", 1e-4)


@pytest.mark.parametrize("name", PAPERS)
def test_rates_start_high_fall_to_the_published_ones_and_strengths_have_their_own(name: str) -> None:
    config, told = load(f"stmi/{name}"), GOLDEN["lr"]
    optim, model = config.train.optim, shell(config)
    assert config.train.epochs == told["epochs"]
    course = [
        learning_rate(optim, told["peak"], e, told["epochs"]) for e in (0, told["warmup"], told["epochs"])
    ]
    assert course[0] == pytest.approx(told["start"])
    assert course[1] == pytest.approx(told["peak"], rel=0.1)
    assert course[2] == pytest.approx(told["end"])
    names = {id(p): n for n, p in model.named_parameters()}
    peaks: dict[float, set[str]] = {}
    for group in build_optimizer(model, optim).param_groups:
        peaks.setdefault(group["peak_lr"], set()).update(names[id(p)] for p in group["params"])
    assert set(peaks) == {told["peak"], told["strengths"]}
    assert peaks[told["strengths"]] == {"sfm.alpha", "sfm.beta"}


@pytest.mark.parametrize("name", PAPERS)
def test_masks_and_captions_are_made_without_a_download(name: str) -> None:
    generate = load(f"stmi/{name}").build.generate
    assert list(generate) == [Target.MASK, Target.TEXT]
    bound = {target: bind(target, how) for target, how in generate.items()}
    assert not any(b.entry.needs_weights for b in bound.values())
    vehicles = name != "rgbnt201"
    assert bound[Target.TEXT].params["kind"] == ("vehicle" if vehicles else "person")
    assert bound[Target.MASK].params["sides"] == ("top_bottom" if vehicles else "left_right")


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("synthetic", CAMERA),
        ("synthetic-warm", CAMERA),
        ("grocery", (Modality.RGB, Modality.NIR, Modality.SKETCH)),
    ],
)
def test_the_laptop_presets_build_from_their_own_data(
    name: str, modalities: tuple[Modality, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROCERY", "data/grocery")
    config, base = load(f"stmi/{name}"), load(f"baseline/{name}")
    model = shell(config)
    assert model.query_modalities == frozenset(modalities)
    assert config.evaluate.protocol == base.evaluate.protocol
    assert parameter_counts(model)["total"] < 6_000_000
    build_optimizer(model, config.train.optim)
    if name == "grocery":  # its sentences name the product
        assert config.data.reader.model_dump()["texts"] is None
        assert bind(Target.TEXT, config.build.generate[Target.TEXT]).params["kind"] == "object"
    else:
        assert (config.data.reader, config.build) == (base.data.reader, base.build), "the same shards"


def test_the_warm_preset_has_the_towers_of_the_pretrained_run() -> None:
    warm, run = section(load("stmi/synthetic-warm")), load("baseline/pretrain").model.model_dump()
    assert warm.weights == "run:runs/train/baseline-pretrain"
    assert warm.tower.model_dump() == run["tower"]
    assert warm.text.model_dump() == run["text"]


def test_each_rung_of_the_papers_ladder_adds_its_module() -> None:
    base = load("stmi/rgbnt201")
    modules = []
    for row in load_ladder("stmi").rows[:4]:
        config = without_idle_groups(apply(base, row), used_groups(base), row.name)
        counts = parameter_counts(shell(config))
        modules.append(set(counts["by_module"]))
        build_optimizer(shell(config), config.train.optim)
    assert modules[0] == {"image_tower", "class_bias", "heads"}
    assert modules[1] - modules[0] == {"sfm"}
    assert modules[2] - modules[1] >= {"semantic", "text_tower", "unify"}
    plain = parameter_counts(shell(load("baseline/rgbnt201")))["total"]
    first = apply(base, load_ladder("stmi").rows[0])
    assert parameter_counts(shell(first))["total"] == plain
