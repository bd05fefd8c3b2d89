"""The baselines of the visible-infrared sets: input, head, what is asked, and rows of a single modality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reid.comparison.regimes import Regime
from reid.config import BatchConfig, load
from reid.data.batches.collate import Collator
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality, parse_subset
from reid.models.base import ModelContext
from reid.models.registry import build_model
from reid.runs.describe import describe_config
from tests.support.places import GOLDEN_FOLDER
from tests.support.sets.shards import SIDE, data_config, make_sample, make_shards

GOLDEN = json.loads((GOLDEN_FOLDER / "visible_infrared_presets.json").read_text())
NAMES = sorted(GOLDEN["sets"])
TINY = "model.tower={arch: null, patch: 16, width: 32, layers: 1, heads: 2, dim: 16}"


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_the_set_is(name: str) -> None:
    config, expected = load(f"baseline/{name}"), GOLDEN["sets"][name]
    assert (config.name, config.data.name) == (f"baseline-{name}", name)
    assert config.data.reader.name == expected["reader"]
    assert [m.value for m in config.data.modalities] == expected["modalities"]
    assert [config.data.height, config.data.width] == GOLDEN["size"]
    assert get_protocol(config.evaluate.protocol).name == expected["protocol"]
    assert list(config.evaluate.subsets or ()) == expected["subsets"]


@pytest.mark.parametrize("name", NAMES)
def test_training_is_that_of_the_tri_modal_baseline_with_adamw(name: str) -> None:
    ours, theirs = (load(f"baseline/{n}").train.model_dump(mode="json") for n in (name, "rgbnt201"))
    assert ours["optim"].pop("name") == "adamw"
    del theirs["optim"]["name"]
    assert ours == theirs
    assert (ours["batch"]["identities"], ours["batch"]["instances"]) == (8, 8)
    assert (ours["optim"]["lr"], ours["optim"]["groups"][0]["lr"]) == (3.5e-4, 5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_answers_every_pairing_that_is_asked_of_it(name: str, tmp_path: Path) -> None:
    config, expected = load(f"baseline/{name}", [TINY, f"workdir={tmp_path}"]), GOLDEN["sets"][name]
    found: dict[str, Any] = describe_config(config)
    assert (found["classes"], found["cameras"]) == (expected["identities"], expected["cameras"])
    assert (found["regime"], found["dim"]) == ("any_to_any", 16)
    assert found["parameters"]["by_module"]["head"] == 16 * expected["identities"] + 2 * 16
    context = ModelContext(3, 2, config.data.height, config.data.width, config.data.modalities)
    model = build_model(config.model, context)
    assert model.regime is Regime.ANY_TO_ANY
    for pairing in config.evaluate.subsets or ():
        query, gallery = (parse_subset(side) for side in pairing.split("->"))
        assert model.pairing(query, gallery) == (query, gallery)


def test_the_tower_is_clips_at_the_sets_size(tmp_path: Path) -> None:
    config = load("baseline/llcm", [f"workdir={tmp_path}"])
    assert config.model.model_dump()["weights"] == "openai"
    with torch.device("meta"):
        model = build_model(
            config.model,
            ModelContext(713, 9, config.data.height, config.data.width, config.data.modalities),
        )
    assert model.dim == GOLDEN["dim"]
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert (GOLDEN["positions"], 768) in shapes.values()


def test_a_batch_of_single_modality_rows_trains_both_modalities(tmp_path: Path) -> None:
    kinds = (Modality.RGB, Modality.NIR)
    samples = [make_sample(pid, n, [kinds[n % 2]]) for pid in range(3) for n in range(4)]
    shards = make_shards(tmp_path, [samples])
    data = data_config(kinds)
    labels = {identity: i for i, identity in enumerate(shards.identities("train"))}
    batching = BatchConfig(identities=2, instances=4)
    stream = BatchStream(shards, labels, kinds, batching, Collator(data), StreamPlace(0))
    (batch,) = stream.epoch(0, 1)
    assert sorted(len(batch.index[m]) for m in kinds) == [4, 4]
    section = load("baseline/sysu-mm01", [TINY.replace("patch: 16", "patch: 4")]).model
    model = build_model(section, ModelContext(3, 1, SIDE, SIDE, kinds))
    output = model(batch)
    assert set(output.losses) == {"id", "triplet", "id_each", "triplet_each"}  # nothing for SDM to compare
    for name in ("id", "triplet"):  # a row is its own mean: both views of it are the same
        torch.testing.assert_close(output.losses[name], output.losses[f"{name}_each"])
    torch.stack(list(output.losses.values())).sum().backward()
    learnt = {n: p.grad for n, p in model.named_parameters() if n.startswith("image_tower.")}
    assert learnt and all(grad is not None and bool(grad.isfinite().all()) for grad in learnt.values())
