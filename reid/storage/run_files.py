"""The files of a finished run: its run.json, its resolved configuration as data, its weights."""

from __future__ import annotations

from typing import Any

from safetensors.torch import load as load_safetensors
from torch import Tensor

from reid.errors import StorageError, WeightsError
from reid.storage.files import exists, read_bytes, read_json
from reid.storage.uris import absolute, join

RUN_FILE = "run.json"
LATEST = "LATEST"


class RunFiles:
    """A finished run at `uri`; `info` is its run.json."""

    def __init__(self, uri: str, info: dict[str, Any]) -> None:
        self.uri = uri
        self.info = info

    @classmethod
    def find(cls, uri: str) -> RunFiles:
        """A finished run, or the newest one of a folder of runs. Raises WeightsError otherwise."""
        root = absolute(uri)
        pointer = join(root, LATEST)
        if not exists(join(root, RUN_FILE)) and exists(pointer):
            root = join(root, read_bytes(pointer).decode().strip())
        try:
            return cls(root, read_json(join(root, RUN_FILE)))
        except StorageError:
            raise WeightsError(
                f"{root}: no finished run here (no {RUN_FILE}). Train one (`python -m jobs.train`), or point "
                "`run=` at a run folder."
            ) from None

    def config_tree(self) -> dict[str, Any]:
        """The configuration that it was trained with, as `reid.config.load` takes it."""
        tree: dict[str, Any] = read_json(join(self.uri, "config.json"))
        return tree

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict."""
        return load_safetensors(read_bytes(join(self.uri, "weights.safetensors")))
