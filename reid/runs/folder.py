"""The run folder, training's output, and the loaded run: everything that embedding needs, and nothing else.

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
from functools import cached_property
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from reid import storage
from reid.config import Config, load
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.errors import StorageError, WeightsError
from reid.evaluate.calibration.calibration import Calibration
from reid.modality import Modality
from reid.models.base import ModelContext, ReIDModel, Side
from reid.models.registry import build_model
from reid.runs.embedding import Vectors, embed_rows
from reid.runs.identities import LabelMap

RUN_FILE = "run.json"
CALIBRATION_FILE = "calibration.json"
LATEST = "LATEST"
Parts = Mapping[Modality, bytes | str]


class RunFolder:
    """Files of a finished run."""

    def __init__(self, uri: str, info: dict[str, Any]) -> None:
        self.uri = uri
        self.info = info

    @classmethod
    def open(cls, uri: str) -> RunFolder:
        """Open a finished run, or the newest one of a folder of runs. Raises WeightsError otherwise."""
        root = storage.absolute(uri)
        pointer = storage.join(root, LATEST)
        if not storage.exists(storage.join(root, RUN_FILE)) and storage.exists(pointer):
            root = storage.join(root, storage.read_bytes(pointer).decode().strip())
        try:
            info = storage.read_json(storage.join(root, RUN_FILE))
        except StorageError:
            raise WeightsError(
                f"{root}: no finished run here (no {RUN_FILE}). Train one (`python -m jobs.train`), or point "
                "`run=` at a run folder."
            ) from None
        return cls(root, info)

    @property
    def fingerprint(self) -> str:
        """Names the weights: vectors of different fingerprints are never compared."""
        return str(self.info["fingerprint"])

    @property
    def config(self) -> Config:
        """The configuration that it was trained with."""
        return load(storage.read_json(storage.join(self.uri, "config.json")))

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict."""
        return load_safetensors(storage.read_bytes(storage.join(self.uri, "weights.safetensors")))

    def labels(self) -> LabelMap:
        """Identities and cameras in label order."""
        return LabelMap.from_json(storage.read_json(storage.join(self.uri, "labels.json")))

    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch."""
        lines = storage.read_bytes(storage.join(self.uri, "metrics.jsonl")).decode().splitlines()
        return [json.loads(line) for line in lines]

    def calibration(self) -> Calibration | None:
        """What similarities mean; None if the run has none. WeightsError for a broken or foreign file."""
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
    parent, _, name = uri.rpartition("/")
    storage.write_bytes(storage.join(parent, LATEST), name.encode())
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


def model_context(config: Config, labels: LabelMap) -> ModelContext:
    """What the model is built for."""
    return ModelContext(
        num_classes=len(labels.classes),
        num_cameras=max(1, len(labels.cameras)),
        height=config.data.height,
        width=config.data.width,
        modalities=config.data.modalities,
    )


class Run:
    """A trained embedder in memory."""

    def __init__(self, folder: RunFolder, model: ReIDModel, device: torch.device) -> None:
        self.folder = folder
        self.uri = folder.uri
        self.fingerprint = folder.fingerprint
        self.config = folder.config
        self.labels = folder.labels()
        self.model = model
        self.device = device
        self.collator = Collator(self.config.data, self.labels.camera_labels, auxiliary=model.auxiliary)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What its similarities mean, read at the first use; None if nobody could tell."""
        return self.folder.calibration()

    def embed_rows(self, rows: Sequence[BatchRow], side: Side, batch_size: int = 64) -> Vectors:
        """(n, dim) float32 unit vectors of rows whose parts carry camera ids."""
        return embed_rows(self.model, self.collator, rows, side, batch_size, self.device)

    def embed(self, rows: Sequence[Parts], side: Side, batch_size: int = 64) -> Vectors:
        """(n, dim) float32 unit vectors of encoded images and sentences from an unknown camera.

        Raises DataError naming the modality of a picture that cannot be decoded.
        """
        named = [
            BatchRow({m: RowPart(content, source=m.value) for m, content in parts.items()}) for parts in rows
        ]
        return self.embed_rows(named, side, batch_size)


def load_run(uri: str, device: str | torch.device = "cpu") -> Run:
    """Load a finished run. Raises WeightsError when it is not there or does not fit its own config."""
    folder = RunFolder.open(uri)
    config, labels = folder.config, folder.labels()
    model = build_model(config.model, model_context(config, labels))
    try:
        model.load_state_dict(folder.weights())
    except RuntimeError as error:
        raise WeightsError(f"{folder.uri}: weights do not fit the model ({error}).") from None
    target = torch.device(device)
    return Run(folder, model.to(target).eval(), target)
