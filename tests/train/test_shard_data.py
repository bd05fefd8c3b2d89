"""A built set from Python: its samples as a torch Dataset, its batches as training draws them."""

from __future__ import annotations

import pickle
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from reid.errors import DataError, TrainingError, UsageError
from reid.modality import Modality
from reid.storage.latest import name_latest
from reid.train.setup import training_stream
from reid.train.shard_data import ShardData, open_shards
from tests.support.sets.shards import make_identities, make_sample, make_shards
from tests.support.sets.streams import CountingShards, equal
from tests.support.world import World, world_config

RGB = Modality.RGB


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 training samples of 4 identities in 2 files and 4 row groups, 2 test samples."""
    folder = tmp_path_factory.mktemp("set")
    samples = make_identities([3, 4, 2, 2])
    test = [make_sample(9, n, split="test") for n in range(2)]
    make_shards(folder, [samples[:7], samples[7:], test], rows_per_group=4)
    return folder


def ids(samples: Any) -> list[str]:
    return [s.labels.sample_id for s in samples]


def test_a_split_is_a_sequence_of_its_samples_in_stored_order(root: Path) -> None:
    data = open_shards(root)
    stored = [s for g in data.shards.groups("train") for s in data.shards.read_group(g)]
    assert len(data) == len(stored) == 11
    assert list(data) == stored == [data[i] for i in range(11)]
    assert data[-1] == stored[-1] and data[np.int64(3)] == stored[3] and data[0] is data[0]
    assert data[2:9:3] == stored[2:9:3] and data[:] == stored and data[::-1] == stored[::-1]
    for outside in (11, -12):
        with pytest.raises(IndexError, match=f"sample {outside} of 11"):
            data[outside]
    assert repr(data) == f"<ShardData {root}, split train: 11 samples of 4 identities>"
    assert len(open_shards(str(root), split="test")) == 2


def test_only_the_last_row_groups_stay_in_memory(root: Path) -> None:
    samples = make_identities([2] * 20)
    shards = CountingShards.count(make_shards(root.parent / "long", [samples], rows_per_group=2))
    data = ShardData(shards, "train")
    assert [data[i].labels.pid for i in range(40)] == [i // 2 for i in range(40)]
    assert len(shards.reads) == 20 and shards.alive <= 10


def test_it_is_a_torch_dataset_also_for_workers_of_a_loader(root: Path) -> None:
    data = open_shards(root)
    assert isinstance(data, Dataset)
    _ = data[5]
    again = pickle.loads(pickle.dumps(data))
    assert list(again) == list(data) and data._kept and not again._kept  # no row group goes along
    loader: Any = DataLoader(data, batch_size=4, collate_fn=ids)
    assert [name for batch in loader for name in batch] == ids(data)


def test_a_sample_decodes_a_picture_when_asked(root: Path) -> None:
    sample = open_shards(root)[0]
    pixels = sample.pixels("rgb")
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels, sample.pixels(RGB))
    assert len(repr(sample)) < 800  # no picture's bytes
    with pytest.raises(DataError, match="p0-0: no picture of nir; pictures of it: rgb"):
        sample.pixels("nir")
    with pytest.raises(UsageError, match=r"Did you mean 'rgb'\?"):
        sample.pixels("rgbb")


def test_of_a_folder_of_sets_the_newest_is_taken(tmp_path: Path) -> None:
    for name in ("aa", "bb", "cc"):
        make_shards(tmp_path / name, [make_identities([1, 1])])
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(DataError, match=r"holds 3 shard sets, and no LATEST.*aa, bb, cc\."):
        open_shards(tmp_path)
    name_latest(str(tmp_path / "bb"))
    assert open_shards(tmp_path).shards.root == str(tmp_path / "bb")
    assert open_shards(tmp_path / "cc").shards.root == str(tmp_path / "cc")


def test_what_is_not_there_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"split: 'trian' is not one of train, val, test. Did you mean 'train'\?"
    ):
        open_shards(root, split="trian")
    with pytest.raises(DataError, match=r"no sample in split 'val'; splits with samples: train, test"):
        open_shards(root, split="val")
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match=r"no shard set here.*jobs\.build"):
            open_shards(place)


def test_batches_are_those_that_training_draws(world: World) -> None:
    data = open_shards(world.shards.root)
    expected = list(training_stream(world.config, world.shards, world.run.labels).epoch(1, 3))
    for recipe in (world.run, world.config):
        found = list(data.batches(recipe, epoch=1, steps=3))
        assert len(found) == 3 and all(equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not equal(next(data.batches(world.run, epoch=2)), expected[0])
    batch = expected[0]
    assert sorted(torch.bincount(batch.pid).tolist())[-2:] == [2, 2] and len(batch) == 4


def test_an_epoch_has_the_steps_that_training_has(world: World) -> None:
    data = open_shards(world.shards.root)
    assert len(list(data.batches(world.config))) == 1  # train.steps_per_epoch
    free = world_config(world.folder, world.shards, "train.steps_per_epoch=null")
    natural = training_stream(free, world.shards, world.run.labels).natural_steps
    assert len(list(data.batches(free))) == natural > 1
    assert len(list(islice(data.batches(free, steps=5), 9))) == 5


def test_batches_of_other_identities_or_splits_are_refused(world: World, root: Path) -> None:
    with pytest.raises(UsageError, match=r"other identities.*: \d of 4 are not here.*run\.config"):
        open_shards(root).batches(world.run)
    with pytest.raises(UsageError, match="drawn from split 'train'; this is 'test'"):
        open_shards(root, split="test").batches(world.config)
    with pytest.raises(UsageError, match=r"give a run .* or a configuration, not a str"):
        open_shards(root).batches("baseline/demo")  # type: ignore[arg-type]
    many = world_config(world.folder, world.shards, "train.batch.identities=64")
    with pytest.raises(TrainingError, match=r"train\.batch\.identities"):
        open_shards(root).batches(many)
