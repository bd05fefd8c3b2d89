"""FlexiReID through the loop: frozen towers of another run, a run folder that is read back, odd sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, UsageError, WeightsError
from reid.modality import Modality
from reid.runs.run import load_run
from reid.train.loop import train
from tests.support.models.observers import Recorder
from tests.support.models.rank_comparison import PLAIN, weights

Configure = Callable[..., Config]
MODALITIES = "data.modalities=rgb+nir+text"


def flexireid(configure: Configure, *overrides: str, **model: Any) -> Config:
    """A tiny one of the baseline's towers."""
    base: Any = configure().model
    towers = {"tower": base.tower.model_dump(), "text": base.text.model_dump()}
    section = {"name": "flexireid", "moe": {"hidden": 8}, "sdm_scale": 20, **towers, **model}
    tuples = ("train.batch={sampler: tuple, identities: 8}", "train.optim.lr=1e-2")
    return configure(MODALITIES, *tuples, *PLAIN, *overrides, model=section)


def test_frozen_towers_of_another_run_stay_and_the_rest_learns(
    configure: Configure, shards: ShardSet, tmp_path: Path
) -> None:
    first = configure("train.epochs=1", MODALITIES, "model.fusion=mean")
    train(first, str(tmp_path / "warm"))
    seen = Recorder()
    config = flexireid(configure, "train.epochs=12", weights=f"run:{tmp_path / 'warm'}")
    train(config, str(tmp_path / "run"), observer=seen)
    reports = seen.metrics
    before, after = weights(tmp_path / "warm"), weights(tmp_path / "run")
    towers = [n for n in after if n.startswith(("image_tower.", "text_tower."))]
    assert towers and all(torch.equal(after[n], before[n]) for n in towers)
    assert any(after[n].any() for n in after if n.endswith("experts.up"))
    assert reports[-1]["loss"] < 0.85 * reports[0]["loss"]
    queries = ("nir", "text", "nir+text")
    assert {f"loss/sdm_{q}" for q in queries} | {"loss/ada", "stat/experts/rgb"} <= reports[0].keys()

    run = load_run(str(tmp_path / "run"))
    again = load_run(str(tmp_path / "run"))
    sample = next(s for g in shards.groups("train") for s in shards.read_group(g))
    photo = {Modality.RGB: sample.images[Modality.RGB].image}
    query = {Modality.NIR: sample.images[Modality.NIR].image, Modality.TEXT: sample.captions[0].text}
    vectors = run.embed([photo, query, {**photo, **query}], "query")
    assert np.array_equal(vectors, again.embed([photo, query, {**photo, **query}], "query"))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_vectors_of_the_modalities_come_with_the_towers_and_stay_as_frozen(
    configure: Configure, tmp_path: Path
) -> None:
    for name in ("true", "false"):
        first = configure(
            "train.epochs=1", MODALITIES, "model.fusion=mean", f"model.modality_embedding={name}"
        )
        train(first, str(tmp_path / name))
    config = flexireid(
        configure, "train.epochs=1", weights=f"run:{tmp_path / 'true'}", modality_embedding=True
    )
    train(config, str(tmp_path / "run"))
    before, after = weights(tmp_path / "true"), weights(tmp_path / "run")
    assert torch.equal(after["class_bias.kind"], before["class_bias.kind"])
    config = flexireid(configure, weights=f"run:{tmp_path / 'false'}", modality_embedding=True)
    with pytest.raises(WeightsError, match=r"model\.modality_embedding=true.*have no such vectors"):
        train(config, str(tmp_path / "none"))


def test_sentences_may_be_empty_or_too_long_and_a_part_must_be_there(
    configure: Configure, tmp_path: Path
) -> None:
    config = flexireid(configure, "train.epochs=0", freeze_backbone=False)
    train(config, str(tmp_path / "run"))
    run = load_run(str(tmp_path / "run"))
    long = "a woman in a long red coat with a blue bag walks along a grey wall " * 12
    texts = ["", long, long + "and a hat", "a red coat"]
    vectors = run.embed([{Modality.TEXT: text} for text in texts], "query")
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors[1], vectors[2])  # cut after 77 tokens
    assert np.abs(vectors[0] - vectors[3]).max() > 1e-4
    with pytest.raises(UsageError, match="Row 0: An empty mapping"):
        run.embed([{}], "query")


def test_a_model_without_text_refuses_a_sentence(configure: Configure, tmp_path: Path) -> None:
    config = flexireid(configure, "train.epochs=0", "data.modalities=rgb+nir", freeze_backbone=False)
    train(config, str(tmp_path / "run"))
    run = load_run(str(tmp_path / "run"))
    with pytest.raises(UsageError, match=r"Row 0: This model does not take text .* any subset of rgb\+nir"):
        run.embed([{Modality.TEXT: "a red coat"}], "query")


def test_an_identity_that_lacks_a_modality_trains_with_what_it_has(
    configure: Configure, sample: Callable[..., Any], write_shards: Callable[..., ShardSet], tmp_path: Path
) -> None:
    samples = [sample(pid, camid) for pid in range(8) for camid in (2, 5)]
    for one in samples[:4]:
        del one.images[Modality.NIR]
    shards = write_shards(tmp_path / "shards", samples)
    config = flexireid(
        configure,
        "train.epochs=1",
        f"data.shards={shards.root}",
        "train.batch.incomplete=allow",
        freeze_backbone=False,
    )
    metrics = train(config, str(tmp_path / "run"))
    assert metrics["loss/sdm_nir"] > 0


def test_frozen_random_towers_are_refused_before_training(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.freeze_backbone=true.*model\.weights=random"):
        train(flexireid(configure), str(tmp_path / "run"))
