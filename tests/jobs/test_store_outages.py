"""A store that is stopped and started in the middle of a verb: it waits, says so, and ends as without that.

ANYREID_TEST_OUTAGE_S says for how many seconds (default: 20).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from reid import storage
from reid.data.shards.shard_set import ShardSet
from reid.gallery.store import storage_options
from reid.storage.run_files import RunFiles
from tests.support.s3_server.server import S3Server
from tests.support.tiny_configs import write_yaml
from tests.support.verb_runs import Ended, run_verb_apart

OUTAGE_S = float(os.environ.get("ANYREID_TEST_OUTAGE_S", "20"))
pytestmark = [pytest.mark.slow, pytest.mark.outage, pytest.mark.timeout(1800 + 2 * OUTAGE_S)]
CALM, STORM = "s3://bucket/calm", "s3://bucket/storm"
OFTEN = "ray.tell_every_s=5"
FIELDS = ("data.reader.train_identities=24", "data.reader.test_identities=24", OFTEN)
TRAIN = ("train.workers=2", "train.epochs=4", "train.steps_per_epoch=40", "train.batch.identities=4")
EMBED = ("evaluate.actors=1", "evaluate.batch_size=1")


class Verbs:
    """Runs verbs on working folders in a bucket whose server may be away for a while."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self._server, self._yaml = server, write_yaml(folder)
        self._starting: threading.Timer | None = None

    def calm(self, verb: str, *overrides: str) -> Ended:
        """The verb on an undisturbed store."""
        return self._ended_well(run_verb_apart(verb, self._yaml, f"workdir={CALM}", *FIELDS, *overrides))

    def in_storm(self, verb: str, *overrides: str, until: str) -> Ended:
        """The verb, whose store goes away after its line with the words `until`."""
        given = (f"workdir={STORM}", *FIELDS, *overrides)
        patience = {"ANYREID_STORAGE_RETRY_S": "300"}  # tests ask once, otherwise
        ended = run_verb_apart(
            verb, self._yaml, *given, until=until, then=self._goes_away, environment=patience
        )
        assert self._starting is not None
        assert self._starting.finished.is_set(), "the verb must end after the outage"
        assert "the store does not answer" in self._ended_well(ended).err
        assert "the store answers again" in ended.err
        return ended

    def _goes_away(self, process: subprocess.Popen[str]) -> None:
        self._server.stop()
        self._starting = threading.Timer(OUTAGE_S, self._server.start)
        self._starting.start()

    @staticmethod
    def _ended_well(ended: Ended) -> Ended:
        assert ended.code == 0, ended.err
        assert all("the store" in line for line in ended.err.splitlines() if line.startswith("warning: "))
        return ended


@pytest.fixture
def verbs(own_server: S3Server, tmp_path: Path) -> Verbs:
    return Verbs(own_server, tmp_path)


def run_in(workdir: str) -> RunFiles:
    return RunFiles.find(storage.join(workdir, "train/tiny"))


def shards_in(workdir: str) -> dict[str, str]:
    shards = ShardSet.open(storage.join(workdir, "shards/tiny"))
    return {shard.key: shard.sha256 for shard in shards.manifest.shards}


def rows_of(gallery: str) -> pa.Table:
    import lance

    place = storage.join(gallery, "rows.lance")
    return lance.dataset(place, storage_options=storage_options(gallery)).to_table().sort_by("id")


def test_a_build_and_a_training_on_ray_outlast_the_stores_absence(verbs: Verbs) -> None:
    verbs.calm("build")
    verbs.in_storm("build", "ray.num_cpus=1", until=" rows (")
    assert shards_in(STORM) == shards_in(CALM)

    verbs.calm("train", *TRAIN)
    trained = verbs.in_storm("train", *TRAIN, until="epoch 1/4, step 40")
    assert "epoch 4/4" in trained.err and "starting again" not in trained.err
    assert trained.err.count("epoch 2/4, step 80,") == 1, "no step was taken twice"
    runs = [run_in(workdir) for workdir in (STORM, CALM)]
    weights = [storage.read_bytes(storage.join(run.uri, "weights.safetensors")) for run in runs]
    assert weights[0] == weights[1]


def fields_of_a_run(verbs: Verbs) -> tuple[str, ...]:
    """What leads to a run and its set, which were made on a calm store."""
    verbs.calm("build")
    verbs.calm("train", "train.workers=0", "train.epochs=1")
    shards = ShardSet.open(storage.join(CALM, "shards/tiny"))
    return (f"run={run_in(CALM).uri}", f"data.shards={shards.root}", *EMBED)


def forget_vectors() -> None:
    """Embed anew, next time."""
    storage.delete_folder(storage.join(run_in(CALM).uri, "features"))


def test_an_evaluation_outlasts_the_stores_absence(verbs: Verbs) -> None:
    of_run = fields_of_a_run(verbs)
    report = json.loads(verbs.calm("evaluate", *of_run, "--json").out)
    storage.delete_folder(storage.join(run_in(CALM).uri, "evaluate"))
    forget_vectors()
    evaluated = verbs.in_storm("evaluate", *of_run, "--json", until=" vectors (")
    assert json.loads(evaluated.out) == report


def test_an_index_outlasts_the_stores_absence(verbs: Verbs) -> None:
    of_run = fields_of_a_run(verbs)
    verbs.calm("index", *of_run, f"index.gallery={CALM}/gallery")
    forget_vectors()
    verbs.in_storm("index", *of_run, f"index.gallery={STORM}/gallery", until=" vectors (")
    assert rows_of(f"{STORM}/gallery").equals(rows_of(f"{CALM}/gallery"))


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_does_not_wait_for_a_store_that_is_out(
    workers: int, own_server: S3Server, tmp_path: Path
) -> None:
    yaml = write_yaml(tmp_path, STORM)
    assert run_verb_apart("build", yaml).code == 0
    asked: list[float] = []

    def interrupt(process: subprocess.Popen[str]) -> None:
        own_server.stop()
        time.sleep(8.0)  # until its threads wait for the store
        process.send_signal(signal.SIGINT)
        asked.append(time.monotonic())

    given = (f"train.workers={workers}", "train.epochs=1000", "train.steps_per_epoch=2")
    patience = {"ANYREID_STORAGE_RETRY_S": "300"}
    ended = run_verb_apart("train", yaml, *given, until="epoch 1/", then=interrupt, environment=patience)
    assert time.monotonic() - asked[0] < 60
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "stopped; run the same command again to go on"
    assert "Traceback" not in ended.err
