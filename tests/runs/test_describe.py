"""What a configuration builds, without data or weights: the paper's baseline, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reid.config import load
from reid.errors import ConfigError
from reid.modality import Modality
from reid.models.registry import build_model
from reid.runs.describe import PUBLISHED, describe_config, dummy_batch, gmac
from reid.runs.identities import LabelMap
from reid.runs.run import model_context
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "baseline.json").read_text())
TINY = [
    "model.tower={arch: null, patch: 8, width: 32, layers: 2, heads: 2, dim: 16}",
    "data.height=32",
    "data.width=16",
]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The one full-size model of these tests."""
    workdir = tmp_path_factory.mktemp("nothing-built")
    return describe_config(load(GOLDEN["preset"], [f"workdir={workdir}"]))


def test_the_papers_baseline_has_exactly_their_parameters(paper: dict[str, Any]) -> None:
    assert (paper["classes"], paper["cameras"]) == (171, 4)
    counts = paper["parameters"]
    assert counts["total"] == GOLDEN["parameters"]["total"]
    assert counts["trainable"] == GOLDEN["parameters"]["trainable"]
    assert counts["by_module"]["image_tower"] == GOLDEN["parameters"]["image_tower"]


def test_the_papers_baseline_costs_their_products_and_an_embedding_less(
    paper: dict[str, Any],
) -> None:
    assert paper["gmac_per_sample"] == pytest.approx(GOLDEN["gmac"], abs=1e-3)
    assert GOLDEN["gmac"] * 0.9 < paper["gmac_per_embedding"] < GOLDEN["gmac"] - GOLDEN["gmac_saved"]


def test_a_description_says_what_the_model_takes_and_is_json(paper: dict[str, Any]) -> None:
    assert paper["query_modalities"] == paper["gallery_modalities"] == ["rgb", "nir", "tir"]
    assert (paper["regime"], paper["dim"], paper["sample"]) == ("matched", 1536, "rgb+nir+tir")
    assert json.loads(json.dumps(paper)) == paper


def test_counts_that_nobody_knows_must_be_given(tmp_path: Path) -> None:
    config = load("baseline/synthetic", [*TINY, f"workdir={tmp_path}"])
    with pytest.raises(ConfigError, match="Build its shards, or give --classes and --cameras"):
        describe_config(config)
    found = describe_config(config, classes=10, cameras=2)
    assert (found["classes"], found["cameras"]) == (10, 2)


def test_given_counts_win_over_published_ones(tmp_path: Path) -> None:
    found = describe_config(load("baseline/rgbnt201", [*TINY, f"workdir={tmp_path}"]), classes=5)
    assert (found["classes"], found["cameras"]) == (5, PUBLISHED["rgbnt201"][1])
    assert found["parameters"]["by_module"]["head"] == 2 * 48 + 5 * 48


def test_products_grow_with_the_modalities_and_the_fast_path_is_put_back(tmp_path: Path) -> None:
    config = load("baseline/rgbnt201", TINY)
    model = build_model(config.model, model_context(config, LabelMap((("x", 0),), (0,))))
    before = torch.backends.mha.get_fastpath_enabled()
    one = gmac(model, (Modality.RGB,), 32, 16, prune=False)
    two = gmac(model, (Modality.RGB, Modality.TIR), 32, 16, prune=False)
    assert two == pytest.approx(2 * one)
    assert torch.backends.mha.get_fastpath_enabled() == before
    tokens, width = 1 + 8, 32
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    patches = 8 * 3 * 8 * 8 * width
    assert one * 1e9 == pytest.approx(2 * block + patches + tokens * width * 16)
    last = 2 * tokens * width**2 + 10 * width**2 + 2 * tokens * width  # only keys and values of all tokens
    needed = gmac(model, (Modality.RGB,), 32, 16)
    assert needed * 1e9 == pytest.approx(block + last + patches + width * 16)


def test_a_dummy_batch_has_every_modality_and_a_text_of_full_length() -> None:
    batch = dummy_batch(tuple(Modality), 3, 32, 16)
    assert all(batch.full(m) for m in Modality)
    assert batch.tokens is not None
    assert batch.tokens.argmax(1).tolist() == [76] * 3
