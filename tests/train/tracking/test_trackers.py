"""MLflow's folder and W&B's offline files hold a run's numbers; a resumed run is the same run."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from reid.config import Config, load
from reid.config.sections.training.tracking import MLflowConfig, WandbConfig
from reid.errors import ConfigError
from reid.storage import join
from reid.train.tracking.mlflow import MLflow
from reid.train.tracking.registry import check_trackers
from reid.train.tracking.tensorboard import TensorBoard
from reid.train.tracking.tracker import Background, Logged, RunFacts, Tracker
from reid.train.tracking.wandb import Wandb
from tests.support.event_files import events, scalars


def facts(run: Path | str) -> RunFacts:
    config = {"name": "mine", "train": {"epochs": 3, "optim": {"lr": 0.1}}}
    return RunFacts(str(run), "mine", config, {"code": "abc", "data": "def"}, "0123456789ab")


def settings(tmp_path: Path | str, **tracking: Any) -> Config:
    return load("baseline/synthetic", [f"workdir={tmp_path}", f"train.tracking={json.dumps(tracking)}"])


def session(tracker: Tracker, start: int, end: int, why: str = "finished") -> None:
    """Steps after `start` up to `end`, each with a loss of its own number."""
    tracker.begin(start)
    for total in range(start + 1, end + 1):
        tracker.log(Logged(total, 0, {"loss": float(total), "loss/id": 1.0, "val/mAP/rgb → nir+tir": 0.5}))
    tracker.end(why, {"loss": float(end)})


@pytest.mark.slow
def test_an_mlflow_folder_holds_fields_facts_and_metrics(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"file://{tmp_path}/mlflow"
    session(MLflow(facts(tmp_path / "run"), MLflowConfig(experiment="e"), uri), 0, 3, "stopped")
    session(MLflow(facts(tmp_path / "run"), MLflowConfig(experiment="e"), uri), 2, 5)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("e")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.optim.lr"] == "0.1"
    assert {
        "anyreid_code": "abc",
        "anyreid_resumed_at": "2",
        "final.loss": "5",
    }.items() <= run.data.tags.items()
    logged = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(set(logged)) == [(n, float(n)) for n in range(1, 6)]
    assert run.data.metrics["val.mAP.rgb _ nir_tir"] == 0.5
    assert run.data.metrics["loss.id"] == 1.0


@pytest.mark.slow
def test_wandb_keeps_offline_files_of_one_id(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    session(Wandb(facts(run), WandbConfig(mode="offline", project="p")), 0, 3, "stopped")
    session(Wandb(facts(run), WandbConfig(mode="offline", project="p")), 2, 5)
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert [file.name for file in files] == ["run-0123456789ab.wandb"] * 2
    until = time.monotonic() + 30  # W&B's own process writes the files
    while not all(history(file)[2:] for file in files) and time.monotonic() < until:
        time.sleep(0.5)
    rows = [row for file in files for row in history(file)]
    assert [(row["total"], row["loss"], row.get("resumed_at")) for row in rows] == [
        (1, 1.0, None),
        (2, 2.0, None),
        (3, 3.0, None),
        (3, 3.0, 2),
        (4, 4.0, 2),
        (5, 5.0, 2),
    ]


def history(file: Path) -> list[dict[str, Any]]:
    """The logged rows of an offline file: a log of blocks as LevelDB's, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts, rows = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no header fits into the rest of a block
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind not in (1, 4):  # the record goes on in the next block
            continue
        record, parts = Record.FromString(parts), b""
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


def test_tensorboard_holds_the_configuration_once(tmp_path: Path) -> None:
    session(TensorBoard(facts(tmp_path)), 0, 3, "stopped")
    session(TensorBoard(facts(tmp_path)), 2, 4)
    folder = tmp_path / "tensorboard"
    assert scalars(folder)["loss"] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    told = [v for e in events(folder) for v in e.summary.value if v.tag.startswith("configuration")]
    assert len(told) == 1 and b"lr: 0.1" in told[0].tensor.string_val[0]


@pytest.mark.slow
def test_on_an_object_store_files_are_put_whole_and_stay_small(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reid import storage

    monkeypatch.setattr("reid.train.tracking.tensorboard._LARGEST", 2000)
    run = join(bucket, "run")
    session(TensorBoard(facts(run), every_s=0.0), 0, 100, "stopped")
    session(TensorBoard(facts(run), every_s=0.0), 90, 120)
    local = tmp_path / "copy"
    local.mkdir()
    files = storage.list_files(join(run, "tensorboard"))
    assert len(files) > 4
    for uri in files:
        (local / uri.rpartition("/")[2]).write_bytes(storage.read_bytes(uri))
    assert scalars(local)["loss"] == [(n, float(n)) for n in range(1, 121)]
    pytest.importorskip("wandb")
    session(Wandb(facts(run), WandbConfig(mode="offline")), 0, 3)
    found = [f for folder in storage.list_folders(join(run, "wandb")) for f in storage.list_files(folder)]
    assert any(file.endswith(".wandb") for file in found)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_without_its_package_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None if package == name else object())
    with pytest.raises(ConfigError, match=rf"train\.tracking\.{name}: .* pip install 'anyreid\[{name}\]'"):
        check_trackers(settings(tmp_path, **{name: {}}))


def test_trackers_that_cannot_work_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    with pytest.raises(ConfigError, match=r"train\.tracking\.mlflow\.uri: missing"):
        check_trackers(settings("s3://bucket/runs", mlflow={}))
    with pytest.raises(ConfigError, match="wandb login"):
        check_trackers(settings(tmp_path, wandb={}))
    check_trackers(settings(tmp_path, mlflow={}, wandb={"mode": "offline"}))


def test_a_tracker_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"train\.tracking\.mlfow: unknown key\. Did you mean 'mlflow'"):
        load("baseline/synthetic", ["train.tracking.mlfow={}"])


class Broken(Tracker):
    """Fails at chosen calls."""

    name = "broken"

    def __init__(self, opens: int = 0) -> None:
        self.opens, self.logged = opens, 0

    def begin(self, total: int) -> None:
        if self.opens == 0:
            raise ConnectionError("no route\nto host")
        self.opens -= 1

    def log(self, at: Logged) -> None:
        self.logged += 1
        if at.total == 2:
            raise ValueError("two")


def test_a_tracker_that_cannot_be_opened_is_told_once_and_its_losses_counted() -> None:
    told: list[str] = []
    tracker = Background(Broken(), told.append)
    tracker.begin(0)
    for total in (1, 2, 3):
        tracker.log(Logged(total, 0, {}))
    assert not tracker.end("finished", {}, 10.0)
    assert told[0] == "broken: ConnectionError: no route; training goes on without it"
    assert len(told) == 2 and "3 reports lost" in told[1]


def test_one_failing_report_does_not_stop_the_others() -> None:
    told: list[str] = []
    broken = Broken(opens=1)
    tracker = Background(broken, told.append)
    tracker.begin(0)
    for total in (1, 2, 3):
        tracker.log(Logged(total, 0, {}))
    assert not tracker.end("finished", {}, 10.0)
    assert broken.logged == 3
    assert "1 failures, 1 reports lost" in told[1]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would reach out fails at once."""
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setitem(os.environ, "HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setitem(os.environ, "NO_PROXY", "127.0.0.1,localhost")
