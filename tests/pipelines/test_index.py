"""Indexing: every gallery capture once, found again by its own picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.index import index_run
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, UnsupportedPairing
from reid.gallery.rows import Item
from reid.gallery.store import Gallery
from reid.modality import ORDER, Modality
from reid.preflight.gallery_subsets import choose_subsets
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.support.tiny_configs import config_of, silent


def test_captures_are_added_once_and_each_finds_itself(
    any_run: Run, shards: ShardSet, workdir: Path, tmp_path: Path
) -> None:
    settings = config_of(workdir, f"index.gallery={tmp_path / 'g'}", "index.subsets=[rgb, rgb+nir]")
    first = index_run(settings, any_run, silent)
    assert (first.added, first.already) == (16, 0)
    version = first.gallery.version
    second = index_run(settings, any_run, silent)
    assert (second.added, second.already) == (0, 16)
    assert second.gallery.version == version
    retriever = Retriever(any_run, Gallery.open(str(tmp_path / "g")))
    samples = [s for group in shards.groups("test") for s in shards.read_group(group)]
    for sample in samples:
        result = retriever.search({Modality.RGB: sample.images[Modality.RGB].image}, 3, "rgb")
        assert result.hits[0].id == sample.labels.sample_id
        assert result.hits[0].score == pytest.approx(1, abs=1e-4)
        assert (result.hits[0].pid, result.hits[0].camid) == (sample.labels.pid, sample.labels.camid)
        assert result.hits[0].thumbnail


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
