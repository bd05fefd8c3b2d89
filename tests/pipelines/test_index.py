"""Indexing: every gallery capture once, found again by its own picture."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines.embed
from pipelines.index import index_run
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, UnsupportedPairing
from reid.gallery.rows import Item
from reid.gallery.store import Gallery
from reid.modality import ORDER, Modality
from reid.preflight.gallery_subsets import choose_subsets
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.support.places import ROOT
from tests.support.tiny_configs import config_of, silent


def test_captures_are_added_once_and_each_finds_itself(
    any_run: Run, shards: ShardSet, workdir: Path, tmp_path: Path
) -> None:
    settings = config_of(workdir, f"index.gallery={tmp_path / 'g'}", "index.subsets=[rgb]")
    first = index_run(settings, any_run, silent)
    assert (first.added, first.already) == (16, 0)
    version = first.gallery.version
    second = index_run(settings, any_run, silent)
    assert (second.added, second.already) == (0, 16)
    assert second.gallery.version == version
    retriever = Retriever(any_run, Gallery.open(str(tmp_path / "g")))
    samples = [s for group in shards.groups("test") for s in shards.read_group(group)]
    for sample in samples:
        result = retriever.search({Modality.RGB: sample.images[Modality.RGB].image}, 3)
        assert result.hits[0].id == sample.labels.sample_id
        assert result.hits[0].score == pytest.approx(1, abs=1e-4)
        assert (result.hits[0].pid, result.hits[0].camid) == (sample.labels.pid, sample.labels.camid)
        assert result.hits[0].thumbnail


def test_an_item_has_the_vectors_that_it_needs(
    any_run: Run, matched_run: Run, workdir: Path, tmp_path: Path
) -> None:
    """One, the richest, unless the model compares common modalities only."""
    asked = "index.subsets=[rgb, nir, rgb+nir]"
    for run, stored in ((any_run, {1}), (matched_run, {3})):
        config = config_of(workdir, f"index.gallery={tmp_path / run.fingerprint}", asked)
        gallery = index_run(config, run, silent).gallery
        assert {len(kind) for kind in gallery.snapshot().kinds} == stored
        gallery.check_terms(run.model.comparison_rule)


KILLED = """
import os, signal, sys
import pipelines.index as index
from reid.gallery.store import Gallery
from reid.runs.run import load_run
from tests.support.places import ROOT
from tests.support.tiny_configs import config_of, silent
index.CHUNK = 3
plain, added = Gallery.add, []
def add(self, items):
    if len(added) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    added.append(plain(self, items))
Gallery.add = add
workdir, run, *overrides = sys.argv[1:]
index.index_run(config_of(workdir, *overrides), load_run(run), silent)
"""


@pytest.mark.slow
def test_an_index_that_was_killed_goes_on_where_it_was(
    any_run: Run, workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"index.gallery={tmp_path / 'g'}", "index.subsets=[rgb]", "evaluate.actors=0"]
    command = [sys.executable, "-c", KILLED, str(workdir), any_run.uri, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    gallery = Gallery.open(str(tmp_path / "g"))
    before = gallery.snapshot()
    assert len(before) == 6  # two chunks of three, each a version
    lines: list[str] = []
    monkeypatch.setattr(pipelines.embed, "EmbeddingActor", None)  # every vector is stored already
    again = index_run(config_of(workdir, *overrides), any_run, lines.append)
    assert (again.added, again.already) == (10, 6)
    assert lines[0] == "index: 6 items are in the gallery already; 10 to add"
    assert gallery.count() == 16 and set(before.ids) < set(gallery.snapshot().ids)


def test_rows_made_by_actors_are_those_made_here(any_run: Run, workdir: Path, tmp_path: Path) -> None:
    def labels(name: str, actors: int) -> tuple[Any, Any]:
        settings = config_of(workdir, f"index.gallery={tmp_path / name}", f"evaluate.actors={actors}")
        snapshot = index_run(settings, any_run, silent).gallery.snapshot()
        return snapshot.labels, snapshot.vectors(snapshot.subsets[0])[0]

    (here, vectors), (there, others) = labels("a", 0), labels("b", 1)
    assert here.equals(there)
    assert np.array_equal(vectors, others)


def test_an_item_that_may_be_a_stored_one_in_another_spelling_is_refused(
    any_run: Run, workdir: Path, tmp_path: Path
) -> None:
    settings = config_of(workdir, f"index.gallery={tmp_path / 'g'}", "index.subsets=[rgb]")
    gallery = index_run(settings, any_run, silent).gallery
    name = gallery.snapshot().ids[0]
    gallery.delete([name])
    vector = gallery.snapshot().vectors("rgb")[0][0]
    gallery.add([Item(name.upper(), {"rgb": vector}, any_run.fingerprint)])
    told = f"'{name}' and the stored '{name.upper()}' differ in letter case only"
    with pytest.raises(DataError, match=told):
        index_run(settings, any_run, silent)


def test_what_a_model_indexes_by_default(any_run: Run, matched_run: Run) -> None:
    assert choose_subsets(None, any_run.model, ORDER) == [(Modality.RGB,)]
    assert len(choose_subsets(None, matched_run.model, ORDER)) == 7
    with pytest.raises(UnsupportedPairing, match="sketch"):
        choose_subsets(["sketch"], matched_run.model, ORDER)


def test_a_split_without_samples_is_a_clear_error(any_run: Run, workdir: Path) -> None:
    with pytest.raises(DataError, match=r"index\.split: .*no 'val' samples"):
        index_run(config_of(workdir, "index.split=val"), any_run, silent)
