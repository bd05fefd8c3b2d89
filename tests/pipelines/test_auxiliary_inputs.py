"""Captions and masks on their way from the shards to features and to the gallery; no Ray needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.embed import embed_work
from pipelines.index import index_run
from reid.config import Config, load
from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.sample_rows import sample_part
from reid.data.images import encode_mask
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.schema import Mask, Sample
from reid.data.shards.shard_set import ShardSet, publish
from reid.evaluate.features.work import EmbeddingTask, work_table
from reid.evaluate.protocols.items import QueryPart, parts_key
from reid.modality import Modality
from reid.models.registry import build_model
from reid.retrieve.retriever import Retriever
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap
from reid.runs.run import Run, load_run, model_context
from tests.support.models.tiny_training import make_sample, publish_samples
from tests.support.tiny_configs import silent

RGB, NIR = Modality.RGB, Modality.NIR
GENERATORS = {"mask": {"generator": "mask_prior", "params": {}, "params_hash": "as it was"}}


def described(pid: int, camid: int) -> Sample:
    """A test capture whose mask is on its left."""
    inside = np.zeros((32, 16), bool)
    inside[2:30, : 4 + pid] = True
    plain = make_sample(pid, camid, "test")
    return Sample(plain.labels, plain.images, plain.captions, Mask(encode_mask(inside)), "0")


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """Four identities in two cameras, with masks by a generator and captured captions."""
    made = publish_samples(tmp_path / "shards", [described(p, c) for p in range(4) for c in (2, 5)])
    publish(made.root, made.manifest.model_copy(update={"generators": GENERATORS}))
    return ShardSet.open(made.root)


@pytest.fixture
def config(shards: ShardSet, tmp_path: Path) -> Config:
    return load(
        {
            "name": "tiny-stmi",
            "workdir": str(tmp_path / "work"),
            "data": {
                "name": "tiny",
                "reader": {"name": "synthetic"},
                "shards": shards.root,
                "modalities": "rgb+nir",
                "height": 32,
                "width": 16,
            },
            "model": {
                "name": "stmi",
                "tower": {"arch": None, "patch": 4, "width": 32, "layers": 1, "heads": 2, "dim": 32},
                "text": {"width": 32, "layers": 1, "heads": 2},
                "sfm": {"init": 0.8},
            },
            "evaluate": {"actors": 0},
            "index": {"thumbnail": 16},
        }
    )


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Run:
    labels = LabelMap((("tiny", 0), ("tiny", 1)), (2, 5))
    model = build_model(config.model, model_context(config, labels))
    info = {"generators": GENERATORS}
    return load_run(write_run(str(tmp_path / "run"), config, model, labels, info).uri)


def test_features_are_those_of_the_samples_own_inputs(run: Run, shards: ShardSet) -> None:
    samples = [s for g in shards.groups("test") for s in shards.read_group(g)]
    parts = [{RGB: QueryPart(s.labels.sample_id)} for s in samples]
    parts += [{RGB: QueryPart(s.labels.sample_id), NIR: QueryPart(s.labels.sample_id)} for s in samples]
    work = [EmbeddingTask(parts_key(p, "query"), "query", p) for p in parts]
    table = work_table(work, GroupSamples(shards, ["test"]))
    found = embed_work(run, shards, ["test"], table, actors=0, out=silent)
    whole = [BatchRow({m: sample_part(s, m) for m in p}) for s, p in zip(samples * 2, parts, strict=True)]
    rows = [attach_auxiliary(row, s) for row, s in zip(whole, samples * 2, strict=True)]
    expected, bare = run.embed_rows(rows, "query"), run.embed_rows(whole, "query")
    for item, vector, without in zip(work, expected, bare, strict=True):
        np.testing.assert_allclose(found[item.key], vector, atol=1e-5)
        assert not np.allclose(found[item.key], without, atol=1e-3)


def test_a_gallery_says_which_generators_made_its_inputs_and_queries_get_the_same(
    run: Run, config: Config, shards: ShardSet
) -> None:
    gallery = index_run(config, run, out=silent).gallery
    assert gallery.metadata.provenance["auxiliary"] == {"mask": GENERATORS["mask"], "caption": None}
    retriever = Retriever(run, gallery)
    sample = next(s for g in shards.groups("test") for s in shards.read_group(g))
    picture, text = sample.images[RGB].image, sample.captions[0].text
    told = retriever.search({RGB: picture, Modality.TEXT: text}, gallery_subset="rgb")
    assert not told.degraded, "a caption was sent, and a mask could be made"
    assert [w for w in told.warnings if "another version" in w] == list(told.warnings)
    bare = retriever.search({RGB: picture}, gallery_subset="rgb")
    assert bare.degraded
    assert any(w.startswith("No caption") for w in bare.warnings)
