"""Embedding: the same vectors wherever they are computed, and each computed once."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pipelines.embed
from pipelines.context import map_blocks
from pipelines.embed import embed_work, features_of
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.features.table import FeatureTable, key_codes
from reid.evaluate.features.work import EmbeddingTask, work_table
from reid.evaluate.protocols.items import QueryPart, parts_key
from reid.modality import PUBLISHED
from reid.runs.run import Run
from tests.support.tiny_configs import silent

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


@pytest.fixture
def work(shards: ShardSet) -> list[EmbeddingTask]:
    """Every test capture as a query and a gallery item, and one query whose parts lie in two row groups."""
    samples = shards.labels("test")
    names = [s.labels.sample_id for s in samples]
    parts = [{RGB: QueryPart(name)} for name in names] + [{SKETCH: QueryPart(name)} for name in names]
    parts.append({NIR: QueryPart(names[0]), TEXT: QueryPart(names[-1], 0)})
    return [EmbeddingTask(parts_key(p, side), side, p) for p in parts for side in ("query", "gallery")]


@pytest.fixture
def fresh(any_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The run with no stored vector."""
    for file in Path(any_run.uri).glob("features/*/*.arrow"):
        file.unlink()
    return any_run


def vectors(run: Run, shards: ShardSet, work: list[EmbeddingTask], actors: int) -> dict[str, np.ndarray]:
    found = embed_work(run, shards, ["test"], table(shards, work), actors=actors, batch_size=8, out=silent)
    return {w.key: found[w.key] for w in work}


def table(shards: ShardSet, work: list[EmbeddingTask]) -> pa.Table:
    return work_table(work, GroupSamples(shards, ["test"]))


@pytest.mark.slow
def test_an_actor_and_this_process_give_the_same_vectors(
    fresh: Run, shards: ShardSet, work: list[EmbeddingTask]
) -> None:
    here = vectors(fresh, shards, work, actors=0)
    stored = features_of(fresh, shards)
    assert set(stored.read()) == set(here)
    for file in Path(stored.uri).iterdir():
        file.unlink()
    there = vectors(fresh, shards, work, actors=1)
    assert set(stored.read()) == set(there)
    for key, vector in here.items():
        np.testing.assert_allclose(there[key], vector, atol=1e-6)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    queries = [here[w.key] for w in work if w.side == "query"]
    assert len(np.unique(np.round(queries, 5), axis=0)) == len(queries)


def test_vectors_of_different_content_differ_and_none_is_computed_twice(
    fresh: Run, shards: ShardSet, work: list[EmbeddingTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    half = work[: len(work) // 2]
    first = vectors(fresh, shards, half, actors=0)
    lines: list[str] = []
    embed_work(fresh, shards, ["test"], table(shards, work), actors=0, out=lines.append)
    assert f"{len(work) - len(half)}/{len(work) - len(half)} vectors" in lines[-1]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(pipelines.embed, "EmbeddingActor", never)
    again = vectors(fresh, shards, work, actors=0)
    assert all(np.array_equal(again[key], vector) for key, vector in first.items())


def test_a_vector_of_two_captures_does_not_depend_on_where_they_lie(fresh: Run, shards: ShardSet) -> None:
    samples = [s for group in shards.groups("test") for s in shards.read_group(group)]
    first, last = samples[0], samples[-1]
    assert shards.groups("test")[0] != shards.groups("test")[-1]
    parts = {NIR: QueryPart(first.labels.sample_id), TEXT: QueryPart(last.labels.sample_id, 0)}
    work = [EmbeddingTask(parts_key(parts, "query"), "query", parts)]
    found = vectors(fresh, shards, work, actors=0)[work[0].key]
    content = {NIR: first.images[NIR].image, TEXT: last.captions[0].text}
    np.testing.assert_allclose(found, fresh.embed([content], "query")[0], atol=1e-5)


def test_vectors_are_let_go_before_all_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a store are copies on this disk, which both readings together would fill twice."""
    held: list[weakref.ref[FeatureTable]] = []

    def read() -> FeatureTable:
        assert all(earlier() is None for earlier in held)
        found = FeatureTable([])
        held.append(weakref.ref(found))
        return found

    store = SimpleNamespace(uri="x", read=read, earlier_files=lambda: 0, compact=lambda: 0)
    monkeypatch.setattr(pipelines.embed, "features_of", lambda run, shards: store)
    monkeypatch.setattr(pipelines.embed, "work_keys", lambda work: key_codes(["0" * 32]))
    monkeypatch.setattr(pipelines.embed, "tasks_of", lambda work, rows: [])
    monkeypatch.setattr(pipelines.embed, "EmbeddingActor", lambda *arguments, **options: None)
    nothing: Any = SimpleNamespace(uri="x", root="x")
    embed_work(nothing, nothing, ["test"], pa.table({"key": [0]}), actors=0, out=silent)
    assert len(held) == 2


def test_a_stage_on_gpus_is_one_that_ray_data_accepts(
    fresh: Run, shards: ShardSet, work: list[EmbeddingTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Data refuses GPUs without a batch size, as soon as the stage is described."""

    class Described(Exception):
        pass

    def describe(*arguments: Any, **options: Any) -> None:
        map_blocks(*arguments, **options)
        raise Described(options["num_gpus"])

    monkeypatch.setattr(pipelines.embed, "map_blocks", describe)
    with pytest.raises(Described, match="1"):
        embed_work(fresh, shards, ["test"], table(shards, work), actors=1, gpus_per_actor=1, out=silent)
