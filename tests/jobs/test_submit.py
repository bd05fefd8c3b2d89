"""`ray job submit`: the same verbs on a cluster that wants a token, with only the code sent along."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from reid.data.shards.shard_set import ShardSet
from reid.runs.folder import RunFolder
from tests.support.places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOKEN = "a-token-for-this-test-only-0123456789"
TINY = (
    "--preset baseline/synthetic data.reader.train_identities=8 data.reader.test_identities=4 "
    "data.reader.cameras=2 data.reader.captures=1 build.rows_per_shard=12 model.tower.width=32 "
    "model.tower.layers=1 model.tower.heads=2 model.tower.dim=16 train.epochs=1 train.workers=1 "
    "train.steps_per_epoch=2 train.batch.identities=4 train.batch.instances=2 train.val.fraction=0"
)


@dataclass(frozen=True)
class Cluster:
    """A head node of our own: where its dashboard answers, and where its files lie."""

    address: str
    files: Path

    def client(self, token: str = TOKEN) -> JobSubmissionClient:
        return JobSubmissionClient(self.address, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A folder of its own, so that no `ray.init()` beside this test takes the cluster for its own; its path
    # is short, since sockets lie in it.
    files = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    head = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0"]
    head += [f"--dashboard-port={port}", "--num-cpus=3", f"--object-store-memory={200 * 2**20}"]
    with (files / "head.log").open("w") as log:
        process = subprocess.Popen(
            [*head, f"--temp-dir={files}"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    found = Cluster(f"http://127.0.0.1:{port}", files)
    try:
        _wait_until_it_answers(found, process)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it would wait half a minute for its own processes
        process.wait(60)
        shutil.rmtree(files, ignore_errors=True)


def _wait_until_it_answers(cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
    ended = time.monotonic() + 120
    while time.monotonic() < ended:
        try:
            cluster.client().list_jobs()
            return
        except (ConnectionError, RuntimeError):
            assert process.poll() is None, (cluster.files / "head.log").read_text()
            time.sleep(1)
    pytest.fail((cluster.files / "head.log").read_text())


def submitted(client: JobSubmissionClient, entrypoint: str) -> str:
    """The job's id; a head node that has just started needs a moment before it takes jobs."""
    ended = time.monotonic() + 60
    while True:
        try:
            return client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": str(ROOT)})
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > ended:
                raise
            time.sleep(1)


def finished(client: JobSubmissionClient, verb: str, workdir: Path) -> str:
    """Submit a verb as the README says, wait for its end, and return its log."""
    job = submitted(client, f"{sys.executable} -m jobs.{verb} {TINY} workdir={workdir} --json")
    ended = time.monotonic() + 240
    while not (status := client.get_job_status(job)).is_terminal():
        assert time.monotonic() < ended, client.get_job_logs(job)
        time.sleep(1)
    assert status == JobStatus.SUCCEEDED, client.get_job_logs(job)
    return client.get_job_logs(job)


def test_a_set_is_built_and_a_run_trained_by_submitted_jobs(cluster: Cluster, tmp_path: Path) -> None:
    client = cluster.client()
    finished(client, "build", tmp_path)
    (manifest,) = tmp_path.glob("shards/synthetic/*/MANIFEST.json")
    assert ShardSet.open(str(manifest.parent)).rows("train") == 16
    log = finished(client, "train", tmp_path)
    (folder,) = tmp_path.glob("train/baseline-synthetic/*/run.json")
    run = RunFolder.open(str(folder.parent))
    assert run.info["steps"] == 2
    assert run.uri in log

    packages = list(cluster.files.glob("session_latest/runtime_resources/working_dir_files/_ray_pkg_*/"))
    assert packages
    for sent in packages:
        names = {p.name for p in sent.iterdir()}
        assert {"jobs", "pipelines", "reid"} <= names
        assert not names & {".venv", ".git", "runs", "tests", ".ci"}
        # The code alone has 3 MiB; a forgotten folder of outputs, tests or packages would be far more.
        assert sum(p.stat().st_size for p in sent.rglob("*") if p.is_file()) < 6 * 2**20


def test_a_wrong_token_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Exception, match=r"(?i)token|auth|forbidden"):
        cluster.client("not-the-token-at-all-0123456789").list_jobs()
