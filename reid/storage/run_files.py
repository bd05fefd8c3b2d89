"""The files of a finished run: its run.json, its resolved configuration as data, its weights."""

from __future__ import annotations

from typing import Any

from reid.errors import StorageError, WeightsError
from reid.storage.checkpoints import FILES, State, read_exact, read_state
from reid.storage.files import exists, read_json
from reid.storage.latest import latest
from reid.storage.uris import absolute, join

RUN_FILE = "run.json"


def find_run(uri: str) -> str:
    """The run folder that a uri stands for: itself, or the newest of a folder of runs.

    Where there is none it is `uri`. Raises WeightsError when several are there and LATEST names none.

    >>> find_run("runs/train/mine")
    '.../runs/train/mine/0001'
    """
    return latest(uri, RUN_FILE, "finished runs", WeightsError)


class RunFiles:
    """A finished run at `uri`; `info` is its run.json."""

    def __init__(self, uri: str, info: dict[str, Any]) -> None:
        self.uri = uri
        self.info = info

    @classmethod
    def find(cls, uri: str) -> RunFiles:
        """A finished run, or the newest one of a folder of runs (see `latest`).

        Raises WeightsError when there is none, or several and none of them is named as the newest.
        """
        root = find_run(uri)
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

    def weights(self) -> State:
        """The model's state dict. Raises WeightsError for a file that is not whole, naming it."""
        return read_exact(join(self.uri, "weights.safetensors"))


def pinned_weights(uri: str) -> str:
    """Where the weights of `train.init_from` are now: a file, or the run that a folder of runs stands for.

    Raises WeightsError when there is no such file or no finished run.

    >>> pinned_weights("runs/train/mine")
    '.../runs/train/mine/0001'
    """
    if not uri.endswith(FILES):
        return RunFiles.find(uri).uri
    if not exists(uri):
        raise WeightsError(f"{uri}: no such file of weights.")
    return absolute(uri)


def read_weights(uri: str) -> State:
    """The weights of a file, of a run, or of the newest of a folder of runs. Raises as `read_state`.

    >>> read_weights("runs/train/mine")["image_tower.visual.proj"].shape
    torch.Size([32, 16])
    """
    return read_state(absolute(uri)) if uri.endswith(FILES) else RunFiles.find(uri).weights()
