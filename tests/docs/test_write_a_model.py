"""docs/write-a-model.md: its file is found by name, trains, is loaded from its run and is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.evaluation.evaluate import evaluate_run
from pipelines.training.train import train_run
from reid.config import Config
from reid.data.batches.batch import UNKNOWN, Batch
from reid.errors import DataError
from reid.modality import ORDER, Modality, parse_subset
from reid.models.base import ModelContext
from reid.models.registry import build_model, model_names, suggest_systems
from reid.runs.run import load_run
from tests.support.pages import added_to, block
from tests.support.sets.photos import build_here
from tests.support.tiny_configs import config_of, silent


@pytest.fixture(autouse=True)
def _stripes(tmp_path: Path) -> Iterator[None]:
    """The page's file, as if it lay in reid/models."""
    source = block("write-a-model.md", "python")
    with added_to("reid.models", tmp_path / "models", "stripes.py", source):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """The overrides that the page ends with, on the tiny set."""
    overrides = ["name=stripes", "model={name: stripes}", "data.modalities=rgb+nir+sketch"]
    return config_of(tmp_path / "work", *overrides)


def batch_of(subsets: list[str]) -> Batch:
    """A row of random pictures for each subset."""
    present = torch.tensor([[m in parse_subset(s) for m in ORDER] for s in subsets])
    index = {m: present[:, i].nonzero()[:, 0] for i, m in enumerate(ORDER) if present[:, i].any()}
    unknown = torch.full(present.shape, UNKNOWN)
    images = {m: torch.randn(len(rows), 3, 32, 16) for m, rows in index.items()}
    return Batch(torch.arange(len(subsets)), present, unknown, unknown, images, index)


def test_the_file_alone_makes_the_name_known() -> None:
    assert "stripes" in model_names()
    assert "stripes" in suggest_systems(parse_subset("sketch"), parse_subset("rgb"))
    assert "stripes" not in suggest_systems(parse_subset("text"), parse_subset("rgb"))


def test_it_trains_is_loaded_again_and_is_evaluated(settings: Config) -> None:
    build_here(settings)
    done = train_run(settings, out=silent)
    assert done.trained and len(done.run.metrics()) == settings.train.epochs
    run = load_run(done.run.uri)
    before = build_model(settings.model, ModelContext(4, 2, 32, 32, settings.data.modalities)).state_dict()
    assert set(before) == set(run.model.state_dict())
    found = evaluate_run(settings, run, silent).evaluation.results
    assert {r.label for r in found} >= {"rgb", "nir → rgb", "sketch → rgb"}
    assert all(0 < r.metrics.mAP <= 1 for r in found)


def test_vectors_have_unit_norm_and_a_row_does_not_depend_on_the_others(settings: Config) -> None:
    model = build_model(settings.model, ModelContext(4, 2, 32, 16, settings.data.modalities)).eval()
    batch = batch_of(["rgb", "rgb+nir", "sketch"])
    vectors = model.embed(batch, "query")
    assert vectors.dtype == torch.float32 and vectors.shape == (3, model.dim)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))
    first = replace(
        batch,
        pid=batch.pid[:1],
        present=batch.present[:1],
        images={Modality.RGB: batch.images[Modality.RGB][:1]},
        index={Modality.RGB: torch.tensor([0])},
    )
    assert torch.allclose(model.embed(first, "query")[0], vectors[0])
    with pytest.raises(DataError, match="none of this model's modalities"):
        model.embed(batch.only([Modality.RGB]), "query")


def test_every_weight_has_a_gradient_when_a_modality_is_absent(settings: Config) -> None:
    model = build_model(settings.model, ModelContext(2, 2, 32, 16, settings.data.modalities))
    output = model(batch_of(["rgb", "rgb"]))
    torch.stack(list(output.losses.values())).sum().backward()
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
