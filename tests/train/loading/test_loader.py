"""Batches made ahead by processes or threads: the same to the bit, and nothing left of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from reid.config import AugmentConfig
from reid.config.sections.training.loader import LoaderConfig
from reid.data.batches.batch import Batch
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, ResourceError
from reid.modality import Modality
from reid.train.loading.loader import BatchLoader, loader_count
from tests.support.sets.shards import make_identities, make_sample, make_shards
from tests.support.sets.streams import equal, stream

RGB = Modality.RGB


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Eight identities, a picture of the ninth cannot be read."""
    bad = make_sample(8)
    broken = Sample(bad.labels, {RGB: type(bad.images[RGB])(b"broken", 8, 8)})
    return make_shards(tmp_path_factory.mktemp("set"), [[*make_identities([4] * 8)], [broken]])


@pytest.fixture
def good(tmp_path: Path) -> ShardSet:
    """Eight identities of four captures."""
    return make_shards(tmp_path, [make_identities([4] * 8)])


def draw(shards: ShardSet, steps: int = 6, start: int = 0, **config: object) -> list[Batch]:
    source = stream(shards, augment=AugmentConfig(), identities=4, instances=2)
    with BatchLoader(source, LoaderConfig.model_validate(config)) as loader:
        return list(loader.epoch(1, steps, start))


def alive(pid: int) -> bool:
    """Whether a process of this number is there, also one that has ended and was not waited for."""
    return Path(f"/proc/{pid}").exists()


def gone(pids: list[int], seconds: float = 20) -> bool:
    """Whether all of them end within the time."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_threads_make_the_batches_of_the_stream(good: ShardSet) -> None:
    alone = draw(good, kind="none")
    for count in (1, 3):
        assert all(map(equal, alone, draw(good, kind="threads", count=count)))


def test_processes_make_them_to_the_bit_and_end(good: ShardSet) -> None:
    alone = draw(good, kind="none")
    source = stream(good, augment=AugmentConfig(), identities=4, instances=2)
    with BatchLoader(source, LoaderConfig(kind="processes", count=2, prefetch=1)) as loader:
        pids = loader.pids
        assert len(pids) == 2
        assert all(map(alive, pids))
        for _ in range(2):  # they live on from epoch to epoch
            made = list(loader.epoch(1, 6))
            assert len(made) == 6
            assert all(map(equal, alone, made))
            assert [b.sample_id for b in made] == [b.sample_id for b in alone]
        assert all(map(equal, alone[4:], loader.epoch(1, 6, start=4)))
        epoch = loader.epoch(1, 6)
        next(epoch)  # and are ended in the middle of one
    assert not any(map(alive, pids))


def test_a_killed_process_is_one_error_that_names_it(good: ShardSet) -> None:
    source = stream(good, identities=4, instances=2)
    with BatchLoader(source, LoaderConfig(kind="processes", count=1, prefetch=1)) as loader:
        epoch = loader.epoch(0, 50)
        next(epoch)
        (pid,) = loader.pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(
            ResourceError, match=rf"Loader process 1 of 1 \(pid {pid}\) was killed by SIGKILL"
        ):
            list(epoch)
    assert not alive(pid)


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_here(shards: ShardSet) -> None:
    source = stream(shards, identities=9, instances=1)
    with (
        BatchLoader(source, LoaderConfig(kind="processes", count=1)) as loader,
        pytest.raises(DataError, match="p8-0"),
    ):
        list(loader.epoch(0, 3))


@pytest.mark.slow
def test_the_processes_of_a_killed_training_end_by_themselves(good: ShardSet, tmp_path: Path) -> None:
    program = tmp_path / "loads.py"  # without the main guard that Python's own processes need
    program.write_text(
        textwrap.dedent(f"""
        import time
        from reid.config.sections.training.loader import LoaderConfig
        from reid.data.shards.shard_set import ShardSet
        from reid.train.loading.loader import BatchLoader
        from tests.support.sets.streams import stream
        source = stream(ShardSet.open({good.root!r}), identities=4, instances=2)
        loader = BatchLoader(source, LoaderConfig(kind="processes", count=1))
        next(loader.epoch(0, 50))
        print(*loader.pids, flush=True)
        time.sleep(60)
        """)
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in ["", *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=path
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 1
        parent.kill()
        assert gone(pids)


@pytest.mark.parametrize(("cpus", "expected"), [(1, 1), (2, 1), (8, 7), (64, 16)])
def test_the_automatic_count_leaves_a_cpu_to_the_step(cpus: int, expected: int) -> None:
    assert loader_count(LoaderConfig(), cpus) == expected
    assert loader_count(LoaderConfig(kind="none"), cpus) == 0
    assert loader_count(LoaderConfig(count=5), cpus) == 5
