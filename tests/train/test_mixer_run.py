"""MixER through training: cross-spectral batches, a falling loss, a run folder that embeds, restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reid.config import AugmentConfig, Config
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.data.images import encode_png
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, TrainingError
from reid.modality import Modality
from reid.models.mixer.model import Model
from reid.runs.folder import RunFolder
from reid.runs.run import load_run
from reid.train.loop import train

Configure = Callable[..., Config]
CROSS = (
    "model={name: mixer, backbone: resnet18, base_width: 8}",
    "train.batch={sampler: cross, identities: 4, instances: 4}",
)


def test_training_lowers_the_loss_and_the_run_embeds_what_the_model_did(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(
        *CROSS, "train.epochs=8", "train.steps_per_epoch=8", "train.augment.erase=0", "train.optim.lr=5e-3"
    )
    train(config, str(tmp_path / "run"))
    history = RunFolder.open(str(tmp_path / "run")).metrics()
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["loss/id_fused"] < history[0]["loss/id_fused"]
    assert {"stat/modality_accuracy", "stat/cosine", "stat/reversal"} <= set(history[-1])
    run = load_run(str(tmp_path / "run"))
    assert isinstance(run.model, Model)
    picture = encode_png(np.random.default_rng(0).integers(0, 255, (32, 16, 3)).astype(np.uint8))
    rows = [{Modality.RGB: picture}, {Modality.NIR: picture}, {Modality.RGB: picture, Modality.NIR: picture}]
    vectors = run.embed(rows, "query")
    again = load_run(str(tmp_path / "run")).embed(rows, "gallery")
    assert vectors.shape == (3, run.model.dim)
    np.testing.assert_allclose(vectors, again, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert float(vectors[0] @ vectors[1]) < 0.9999  # routed to different related branches


def test_another_run_may_start_from_its_weights_with_another_head(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(*CROSS, "train.epochs=1")
    train(config, str(tmp_path / "first"))
    first = RunFolder.open(str(tmp_path / "first")).weights()
    again = configure(*CROSS, "train.epochs=0", "seed=9", f"train.init_from={tmp_path / 'first'}")
    train(again, str(tmp_path / "second"))
    second = RunFolder.open(str(tmp_path / "second")).weights()
    assert all((first[name] == second[name]).all() for name in first)


def test_a_tower_starts_warm_from_a_baselines_run_in_every_branch(
    configure: Configure, tmp_path: Path
) -> None:
    baseline = configure("train.epochs=0")
    train(baseline, str(tmp_path / "pretrained"))
    given = RunFolder.open(str(tmp_path / "pretrained")).weights()
    tower = baseline.model.model_dump()["tower"]
    model = {
        "name": "mixer",
        "backbone": "tower",
        "tower": tower,
        "weights": f"run:{tmp_path / 'pretrained'}",
    }
    train(configure(CROSS[1], "train.epochs=0", "seed=9", model=model), str(tmp_path / "warm"))
    found = RunFolder.open(str(tmp_path / "warm")).weights()
    prefix = "image_tower.visual."
    assert (found["trunk.tower.visual.conv1.weight"] == given[f"{prefix}conv1.weight"]).all()
    block = "mlp.c_fc.weight"
    for branch in ("erased", "related_visible", "related_infrared"):
        own = found[f"head.branches.stages.{branch}.block.{block}"]
        assert (own == given[f"{prefix}transformer.resblocks.0.{block}"]).all()
    assert (found["head.branches.pool.projection"] == given[f"{prefix}proj"]).all()


def test_an_odd_number_of_instances_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch\.instances.*even"):
        configure(CROSS[0], "train.batch={sampler: cross, identities: 4, instances: 3}")


def test_identities_of_one_modality_are_left_out_and_too_few_others_are_told(
    configure: Configure,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
    tmp_path: Path,
) -> None:
    made = [sample(pid, camid) for pid in range(5) for camid in (0, 1)]
    for one in made:
        if one.labels.pid >= 3:
            del one.images[Modality.NIR]  # type: ignore[attr-defined]
    shards = write_shards(tmp_path / "shards", made)
    with pytest.raises(TrainingError, match=r"needs 4 identities, training has 3 .*left out"):
        train(configure(*CROSS, f"data.shards={shards.root}"), str(tmp_path / "run"))


def test_only_visible_pictures_lose_their_colours(configure: Configure) -> None:
    data = configure(*CROSS).data
    colours = np.random.default_rng(0).integers(0, 255, (32, 16, 3)).astype(np.uint8)
    part = RowPart(encode_png(colours), "x")
    augment = AugmentConfig(flip=0, pad=0, erase=0, random_channel=1.0)
    batch = Collator(data, augment=augment)([BatchRow({Modality.RGB: part, Modality.NIR: part})])
    rgb, nir = batch.images[Modality.RGB][0], batch.images[Modality.NIR][0]
    assert (rgb == rgb[:1]).all() and not (nir == nir[:1]).all()
