"""The baselines of the text-to-image sets and of Market-1501: input, recipe, head, and what is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.comparison.regimes import Regime
from reid.config import Config, load
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.data.readers.base import open_reader
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from reid.models.base import ModelContext
from reid.models.registry import build_model
from reid.runs.describe import describe_config
from reid.train.optimizer import build_optimizer, learning_rate
from tests.support.places import GOLDEN_FOLDER, ROOT
from tests.support.sets.annotated import write_set

GOLDEN = json.loads((GOLDEN_FOLDER / "text_presets.json").read_text())
NAMES = sorted(GOLDEN["sets"])
TINY = [
    "model.tower={arch: null, patch: 16, width: 32, layers: 1, heads: 2, dim: 16}",
    "model.text={width: 16, layers: 1, heads: 2}",
]


def tiny(name: str, tmp_path: Path) -> Config:
    return load(f"baseline/{name}", [*TINY, "model.weights=random", f"workdir={tmp_path}"])


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_the_set_is(name: str) -> None:
    config = load(f"baseline/{name}")
    assert (config.name, config.data.name) == (f"baseline-{name}", name)
    assert config.data.reader.name == GOLDEN["sets"][name]["reader"]
    assert config.data.modalities == (Modality.RGB, Modality.TEXT)
    assert [config.data.height, config.data.width] == GOLDEN["size"]
    assert [list(config.data.mean), list(config.data.std)] == [GOLDEN["mean"], GOLDEN["std"]]
    assert (config.evaluate.protocol, config.train.val.protocol) == ("text_to_image", "text_to_image")
    assert (config.evaluate.subsets, config.evaluate.gallery) == (("text",), "rgb")


@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_as_on_cuhk_pedes(name: str) -> None:
    ours, theirs = (load(f"baseline/{n}").model_dump(mode="json") for n in (name, "cuhk-pedes"))
    for tree in (ours, theirs):
        del tree["name"], tree["data"]["name"], tree["data"]["reader"]
    assert ours == theirs


def test_the_recipe_is_the_papers(tmp_path: Path) -> None:
    config = tiny("cuhk-pedes", tmp_path)
    train = config.train
    assert (train.epochs, train.batch.sampler, train.batch.identities) == (60, "tuple", 64)
    assert (train.optim.name, train.augment.erase_area) == ("adam", (0.02, 0.4))
    for epoch, rate in GOLDEN["schedule"].items():
        assert learning_rate(train.optim, train.optim.lr, float(epoch), 60) == pytest.approx(rate)
    model = build_model(config.model, ModelContext(3, 1, 384, 128, config.data.modalities))
    found = {
        name: [group["lr"], group["weight_decay"]]
        for group in build_optimizer(model, train.optim).param_groups
        for name, parameter in model.named_parameters()
        if any(parameter is p for p in group["params"])
    }
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(found)
    for name, rate in found.items():
        kind = "head" if name.startswith("head.") else "biases" if name.endswith("bias") else "towers"
        assert rate == GOLDEN["rates"][kind], name


@pytest.mark.parametrize("name", NAMES)
def test_the_head_has_the_published_identities_and_text_finds_photos(name: str, tmp_path: Path) -> None:
    config, identities = tiny(name, tmp_path), GOLDEN["sets"][name]["identities"]
    found: dict[str, Any] = describe_config(config)
    assert (found["classes"], found["cameras"], found["regime"]) == (identities, 0, "any_to_any")
    assert found["parameters"]["by_module"]["head"] == 16 * identities + 2 * 16
    model = build_model(config.model, ModelContext(3, 1, 384, 128, config.data.modalities))
    assert model.pairing((Modality.TEXT,), (Modality.RGB,)) == ((Modality.TEXT,), (Modality.RGB,))


def test_the_towers_are_clips_at_the_sets_size() -> None:
    config = load("baseline/rstp-reid")
    assert config.model.model_dump()["weights"] == "openai"
    with torch.device("meta"):
        model = build_model(config.model, ModelContext(3701, 1, 384, 128, config.data.modalities))
    assert model.dim == GOLDEN["dim"]
    shapes = {tuple(p.shape) for p in model.parameters()}
    assert {(GOLDEN["positions"], 768), (49408, 512)} <= shapes


def test_sketches_are_added_as_the_comment_says() -> None:
    path = ROOT / "reid" / "config" / "presets" / "baseline" / "cuhk-pedes.yaml"
    shown = [line for line in path.read_text().splitlines() if line.startswith("#   ")]
    overrides = [
        "data.modalities=rgb+sketch+text",
        "build.generate.sketch.generator=sketch_mix",
        "evaluate.subsets=[text, sketch, sketch+text]",
    ]
    assert all(any(override in line for line in shown) for override in overrides)
    config = load("baseline/cuhk-pedes", overrides)
    assert config.build.generate[Modality.SKETCH].generator == "sketch_mix"


def test_from_the_list_to_losses_and_a_ranking(tmp_path: Path) -> None:
    entries = [
        {
            "id": pid,
            "split": split,
            "img_path": f"{split}{pid}_{n}.jpg",
            "captions": [f"Man {pid}.", f"Photo {n}."],
        }
        for split, pids in (("train", (0, 1)), ("test", (2, 3)))
        for pid in pids
        for n in range(2)
    ]
    root = write_set(tmp_path / "RSTPReid", "data_captions.json", entries)
    config = tiny("rstp-reid", tmp_path)
    config = load(config.model_dump(mode="json"), [f"data.reader.path={root}"])
    reader = open_reader(config.data.reader, config.data.name)
    samples = [reader.load(r, 1000) for r in reader.records()]

    train = [s for s in samples if s.labels.split == "train"][::2]
    parts = [_row(s.labels.pid, s.images[Modality.RGB].image, s.captions[0].text) for s in train]
    batch = Collator(config.data, augment=config.train.augment)(parts, np.random.default_rng(0))
    model = build_model(config.model, ModelContext(2, 1, 384, 128, config.data.modalities))
    assert model.regime is Regime.ANY_TO_ANY
    losses = model(batch).losses
    assert losses["triplet"].item() == losses["triplet_each"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)

    labels = [SampleLabels.of(s) for s in samples if s.labels.split == "test"]
    protocol = get_protocol(config.evaluate.protocol)
    queries = protocol.queries(labels, (Modality.TEXT,)).items
    gallery = protocol.gallery(labels, (Modality.RGB,)).items
    assert [(q.pid, q.parts[Modality.TEXT].caption_index) for q in queries] == [
        (pid, n) for pid in (2, 2, 3, 3) for n in (0, 1)
    ]
    assert [g.pid for g in gallery] == [2, 2, 3, 3]
    assert not protocol.exclude(*label_arrays_of(queries, gallery, labels)).any()  # a caption keeps its photo


def test_market1501_is_the_tri_modal_baseline_on_rgb_alone_without_cameras(tmp_path: Path) -> None:
    config, expected = tiny("market1501", tmp_path), GOLDEN["market1501"]
    assert (config.data.name, config.data.reader.name) == ("market1501", "market1501")
    assert config.data.modalities == (Modality.RGB,)
    assert [config.data.height, config.data.width] == expected["size"]
    assert (config.evaluate.protocol, config.train.val.protocol) == ("market1501", "market1501")
    assert (config.train.batch.identities, config.train.batch.instances) == (16, 4)
    theirs = load("baseline/rgbnt201").train
    assert config.train.optim == theirs.optim
    found: dict[str, Any] = describe_config(config)
    assert (found["classes"], found["cameras"]) == (expected["identities"], expected["cameras"])
    assert (found["regime"], found["dim"]) == ("matched", 16)
    modules = found["parameters"]["by_module"]
    assert modules["head"] == 16 * expected["identities"] + 2 * 16
    assert not modules.get("class_bias")


def _row(label: int, image: bytes, text: str) -> BatchRow:
    return BatchRow(
        {Modality.RGB: RowPart(image, f"photo {label}"), Modality.TEXT: RowPart(text, "text")}, label
    )
