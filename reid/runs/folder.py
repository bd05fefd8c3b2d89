"""The run folder, training's output: everything that embedding needs, and nothing else.

```
<run>/run.json            written last: fingerprints, counts, status; its presence means "finished"
<run>/config.json         the resolved configuration
<run>/weights.safetensors
<run>/labels.parquet      identities and cameras in label order (runs of earlier versions: labels.json)
<run>/metrics/            the table of metrics, which grows while the run trains (reid/runs/metrics/table.py)
<run>/tensorboard/        the same as TensorBoard's event files
<run>/calibration.json    what similarities mean, where validation identities could tell
<run>/environment.json    versions and machine
<run>/checkpoints/        from which training goes on (`reid.train.checkpoints`)
<run>/origin.json         what it began from (`reid.train.naming.origin`)
<run>/LOCK                while a process writes it (`reid.runs.lock`)
```
A folder of runs (`<workdir>/train/<name>`) names its newest finished one in `LATEST`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from safetensors.torch import save as save_safetensors

from reid import storage
from reid.comparison.calibration import Calibration
from reid.config import Config, load
from reid.errors import WeightsError
from reid.models.base import ReIDModel
from reid.nn.classifier.layer import embedding_state
from reid.runs.identities import LabelMap
from reid.runs.metrics.table import MetricsTable
from reid.storage.latest import name_latest
from reid.storage.run_files import RUN_FILE, RunFiles

CALIBRATION_FILE = "calibration.json"
LABELS_FILE = "labels.parquet"


class RunFolder(RunFiles):
    """The files of a finished run, parsed."""

    @classmethod
    def open(cls, uri: str) -> RunFolder:
        """Open a finished run, or the newest one of a folder of runs. Raises WeightsError otherwise."""
        found = RunFiles.find(uri)
        return cls(found.uri, found.info)

    def __repr__(self) -> str:
        name, status = self.info.get("name", "unnamed"), self.info.get("status", "finished")
        return f"<RunFolder {self.uri}: {name} ({self.fingerprint}), {status}>"

    @property
    def fingerprint(self) -> str:
        """Names the weights: vectors of different fingerprints are never compared."""
        return str(self.info["fingerprint"])

    @property
    def config(self) -> Config:
        """The configuration that it was trained with."""
        return load(self.config_tree())

    def labels(self) -> LabelMap:
        """Identities and cameras in label order."""
        earlier = storage.join(self.uri, "labels.json")
        if storage.exists(earlier):
            return LabelMap.from_json(storage.read_json(earlier))
        uri = storage.join(self.uri, LABELS_FILE)
        try:
            return LabelMap.from_parquet(storage.read_bytes(uri))
        except pa.ArrowInvalid as error:
            raise WeightsError(f"{uri}: not readable as a table of labels ({error}).") from error

    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch, of the table of metrics; none where it could not be written.

        Runs of earlier versions have the file `metrics.jsonl` in its place, with a line an epoch.
        """
        earlier = storage.join(self.uri, "metrics.jsonl")
        if (found := MetricsTable.of(self.uri).epochs()) or not storage.exists(earlier):
            return found
        return [json.loads(line) for line in storage.read_bytes(earlier).decode().splitlines()]

    def calibration(self) -> Calibration | None:
        """The calibration; None if the run has none. Raises WeightsError for a broken or foreign file."""
        if not self.info.get("calibration"):
            return None
        uri = storage.join(self.uri, str(self.info["calibration"]))
        return Calibration.load(storage.read_json(uri), self.fingerprint, uri)

    @property
    def why_uncalibrated(self) -> str:
        """Why there is no calibration; "" if there is one."""
        if self.info.get("calibration"):
            return ""
        return str(self.info.get("uncalibrated") or "the run was written before calibration was")


def write_run(
    uri: str,
    config: Config,
    model: ReIDModel,
    labels: LabelMap,
    info: Mapping[str, Any],
    calibration: Calibration | str = "not asked for",
) -> RunFolder:
    """Write a run folder; `run.json` last, then the LATEST pointer beside it.

    Classifiers that were split over ranks are left out: embedding does not use them.
    `calibration` gets the fingerprint of the weights; a text says why there is none.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in embedding_state(model).items()}
    weights = save_safetensors(state)
    digest = hashlib.sha256(weights).hexdigest()[:12]
    storage.write_json(storage.join(uri, "config.json"), config.model_dump(mode="json"))
    storage.write_bytes(storage.join(uri, "weights.safetensors"), weights)
    storage.write_bytes(storage.join(uri, LABELS_FILE), labels.to_parquet())
    storage.write_json(storage.join(uri, "environment.json"), environment())
    tree = {**info, "fingerprint": digest, "dim": model.dim, "regime": model.regime.value}
    if isinstance(calibration, Calibration):
        stamped = calibration.model_copy(update={"model_fingerprint": digest})
        storage.write_json(storage.join(uri, CALIBRATION_FILE), stamped.model_dump(mode="json"))
        tree |= {"calibration": CALIBRATION_FILE, "uncalibrated": None}
    else:
        tree |= {"calibration": None, "uncalibrated": calibration}
    storage.write_json(storage.join(uri, RUN_FILE), tree)
    name_latest(uri)
    return RunFolder(uri, tree)


def environment() -> dict[str, str]:
    """Versions that explain a result."""
    packages = ("anyreid", "torch", "open_clip_torch", "ray", "pyarrow", "numpy", "pillow")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
