"""The run folder, training's output: everything that embedding needs, and nothing else.

```
<run>/run.json            written last: fingerprints, counts, status; its presence means "finished"
<run>/config.json         the resolved configuration
<run>/weights.safetensors
<run>/labels.json         identities and cameras in label order
<run>/metrics.jsonl       one line an epoch
<run>/calibration.json    what similarities mean, where validation identities could tell
<run>/environment.json    versions and machine
```
A folder of runs (`<workdir>/train/<name>`) names its newest finished one in `LATEST`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from safetensors.torch import save as save_safetensors

from reid import storage
from reid.config import Config, load
from reid.evaluate.calibration.calibration import Calibration
from reid.models.base import ReIDModel
from reid.runs.identities import LabelMap
from reid.storage.latest import name_latest
from reid.storage.run_files import RUN_FILE, RunFiles

CALIBRATION_FILE = "calibration.json"


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
        return LabelMap.from_json(storage.read_json(storage.join(self.uri, "labels.json")))

    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch."""
        lines = storage.read_bytes(storage.join(self.uri, "metrics.jsonl")).decode().splitlines()
        return [json.loads(line) for line in lines]

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
    history: Sequence[Mapping[str, Any]],
    info: Mapping[str, Any],
    calibration: Calibration | str = "not asked for",
) -> RunFolder:
    """Write a run folder; `run.json` last, then the LATEST pointer beside it.

    `calibration` gets the fingerprint of the weights; a text says why there is none.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    weights = save_safetensors(state)
    digest = hashlib.sha256(weights).hexdigest()[:12]
    storage.write_json(storage.join(uri, "config.json"), config.model_dump(mode="json"))
    storage.write_bytes(storage.join(uri, "weights.safetensors"), weights)
    storage.write_json(storage.join(uri, "labels.json"), labels.to_json())
    lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in history)
    storage.write_bytes(storage.join(uri, "metrics.jsonl"), lines.encode())
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
