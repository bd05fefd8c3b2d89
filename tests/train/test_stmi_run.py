"""STMI through the training loop: auxiliary inputs from the shards to the run folder and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.config import Config
from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.sample_rows import sample_part
from reid.data.images import encode_mask
from reid.data.shards.schema import Mask, Sample
from reid.data.shards.shard_set import ShardSet
from reid.modality import CAMERA, Modality, all_subsets
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap, training_labels
from reid.runs.run import load_run
from reid.train.loop import train
from reid.train.setup import training_stream
from tests.support.models.rank_comparison import new_model

Configure = Callable[..., Config]
PAIR = CAMERA[:2]
TEXT_DATA = {
    "data": {
        "name": "tiny",
        "reader": {"name": "synthetic"},
        "modalities": "rgb+nir+text",
        "height": 32,
        "width": 16,
    }
}
MODEL = {
    "name": "stmi",
    "tower": {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 32},
    "text": {"width": 32, "layers": 1, "heads": 2},
    "heads": 2,
    "id_weight": 1.0,
    "camera_embedding": False,
}


def described(sample: Sample, number: int) -> Sample:
    """With a mask; every fifth has no caption."""
    inside = np.zeros((32, 16), bool)
    inside[4 + number % 5 : 28, 4:12] = True
    captions = () if number % 5 == 0 else (replace(sample.captions[0], text=f"number {sample.labels.pid}"),)
    return replace(sample, captions=captions, mask=Mask(encode_mask(inside)))


@pytest.fixture(scope="module")
def shards_with_inputs(
    tmp_path_factory: pytest.TempPathFactory,
    sample: Callable[..., Sample],
    write_shards: Callable[..., ShardSet],
) -> ShardSet:
    """Eight identities in three cameras."""
    every = [(pid, camid) for pid in range(8) for camid in (2, 5, 6)]
    samples = [described(sample(pid, camid), n) for n, (pid, camid) in enumerate(every)]
    return write_shards(tmp_path_factory.mktemp("described"), samples)


@pytest.fixture
def config(configure: Configure, shards_with_inputs: ShardSet) -> Config:
    return configure(
        f"data.shards={shards_with_inputs.root}",
        "train.epochs=8",
        "train.steps_per_epoch=4",
        "train.optim.lr=3e-3",
        "train.val.fraction=0.25",
        "train.val.every_epochs=8",
        model=MODEL,
    )


def test_training_batches_carry_the_inputs_of_their_samples(
    config: Config, shards_with_inputs: ShardSet
) -> None:
    labels, _ = training_labels(shards_with_inputs, 0.0, 0)
    both = frozenset({"caption", "mask"})
    (batch,) = training_stream(config, shards_with_inputs, labels, both).epoch(0, 1)  # type: ignore[arg-type]
    assert batch.caption_present is not None and batch.mask_present is not None
    assert batch.mask_present.all()
    assert batch.caption_present.any()
    (plain,) = training_stream(config, shards_with_inputs, labels).epoch(0, 1)
    assert plain.caption is plain.mask is None
    assert plain.sample_id == batch.sample_id, "the same rows are drawn"


def test_a_run_learns_is_validated_and_comes_back_from_its_folder(
    config: Config, shards_with_inputs: ShardSet, tmp_path: Path
) -> None:
    last = train(config, str(tmp_path / "run"))
    assert 0 <= last["val/mAP"] <= 1
    run = load_run(str(tmp_path / "run"))
    history = run.folder.metrics()
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert 1 <= history[-1]["stat/hyperedge"] <= 10
    assert run.folder.info["auxiliary"] == {"mask": None, "caption": None}
    assert run.collator.auxiliary == run.model.auxiliary
    samples = [s for g in shards_with_inputs.groups("train") for s in shards_with_inputs.read_group(g)][:6]
    rows = [
        attach_auxiliary(BatchRow({m: sample_part(s, m) for m in subset}), s)
        for s in samples
        for subset in all_subsets(PAIR)
    ]
    vectors = run.embed_rows(rows, "query")
    again = load_run(str(tmp_path / "run")).embed_rows(rows, "query", batch_size=2)
    np.testing.assert_allclose(vectors, again, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    bare = run.embed_rows([replace(r, mask=None, caption=None) for r in rows], "query")
    assert not np.allclose(bare, vectors, atol=1e-3)
    alone = run.embed_rows([rows[0]], "query")
    np.testing.assert_allclose(alone[0], vectors[0], atol=1e-5)
    assert Modality.RGB in rows[0].parts


@pytest.mark.parametrize("share", [True, False])
def test_both_towers_can_come_from_a_run_with_text(configure: Configure, tmp_path: Path, share: bool) -> None:
    towers = {"tower": MODEL["tower"], "text": MODEL["text"]}
    given = configure(model={"name": "baseline", "fusion": "mean", **towers}, **TEXT_DATA)
    source = new_model(given)
    uri = write_run(str(tmp_path / "given"), given, source, LabelMap((("tiny", 0),), ()), {}).uri
    model = new_model(configure(model={**MODEL, "weights": f"run:{uri}", "share_backbone": share}))
    model.load_pretrained()
    state, expected = model.state_dict(), source.state_dict()
    prefix = "image_tower." if share else "image_towers.nir."
    for name, tensor in expected.items():
        if name.startswith("image_tower."):
            assert torch.equal(state[prefix + name.removeprefix("image_tower.")], tensor), name
        if name.startswith("text_tower."):
            assert torch.equal(state[name], tensor), name
