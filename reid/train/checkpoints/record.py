"""A checkpoint's own record: what it is of, and the size and SHA-256 of each of its files.

```
<run>/checkpoints/epoch-0003-step-000000/checkpoint.json     written last: with it the checkpoint is complete
<run>/checkpoints/epoch-0003-step-000000/weights.safetensors, ...      see `reid.train.state`
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from reid import storage
from reid.config import fingerprint
from reid.errors import StorageError, WeightsError
from reid.runs.identities import LabelMap

FOLDER, RECORD_FILE = "checkpoints", "checkpoint.json"
FORMAT = 1


@dataclass(frozen=True)
class StoredFile:
    """A file of a checkpoint: its size in bytes, and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Subject:
    """What a checkpoint is of: the run's name, the system, and the label map that its classifiers answer."""

    run: str
    model: str
    labels: str

    def check(self, other: Subject, where: str) -> None:
        """Raise WeightsError unless `other`, read at `where`, has this system and these labels.

        >>> ours = Subject("0001", "baseline", "1abe1")
        >>> ours.check(Subject("0002", "baseline", "1abe1"), "runs/train/mine/0002")
        """
        if other.model != self.model:
            raise WeightsError(
                f"{where}: a checkpoint of model.name={other.model}; this run trains {self.model}. Continue "
                f"a run of {self.model}, or start from its weights alone by train.init_from."
            )
        if other.labels != self.labels:
            raise WeightsError(
                f"{where}: a checkpoint of other identities or cameras than this shard set's training split "
                "has. Continue it on its own data, or start from its weights alone by train.init_from."
            )


@dataclass(frozen=True)
class CheckpointRecord:
    """The content of checkpoint.json.

    Args:
        subject: what it is of.
        epoch, step, total: steps done after so many whole epochs, and in all.
        world: number of ranks that wrote it; any number may read it.
        metrics: of the last epoch that ended.
        files: by name.
    """

    subject: Subject
    epoch: int
    step: int
    total: int
    world: int
    metrics: dict[str, Any]
    files: dict[str, StoredFile] = field(default_factory=dict)

    def write(self, folder: str) -> None:
        """As the last file of the checkpoint at this uri."""
        storage.write_json(storage.join(folder, RECORD_FILE), {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: str) -> CheckpointRecord:
        """Of the checkpoint at this uri. Raises StorageError when it is missing or no such record."""
        uri = storage.join(folder, RECORD_FILE)
        tree = storage.read_json(uri)
        try:
            if tree.pop("format") != FORMAT:
                raise StorageError(
                    f"{uri}: of another format than {FORMAT}; read it with the AnyReID that wrote it."
                )
            tree["subject"] = Subject(**tree["subject"])
            tree["files"] = {name: StoredFile(**entry) for name, entry in tree["files"].items()}
            return cls(**tree)
        except (AttributeError, KeyError, TypeError) as error:
            raise StorageError(f"{uri}: not the record of a checkpoint ({error!r}).") from None

    @property
    def place(self) -> str:
        """In words, for a line.

        >>> CheckpointRecord(Subject("0001", "baseline", "1abe1"), 3, 0, 150, 1, {}).place
        'epoch 3, step 150'
        """
        within = f" and {self.step} steps" if self.step else ""
        return f"epoch {self.epoch}{within}, step {self.total}"


def labels_fingerprint(labels: LabelMap) -> str:
    """Names a label map: equal identities and cameras in equal order give an equal name."""
    classes = labels.classes
    columns = [storage.sha256(column.tobytes()) for column in (classes.dataset, classes.pid)]
    return fingerprint(list(classes.datasets), columns, list(labels.cameras))


def checkpoints_folder(run: str) -> str:
    """Where the checkpoints of a run lie."""
    return storage.join(run, FOLDER)


def checkpoint_folders(run: str) -> list[str]:
    """The folders of a run's checkpoints, complete or not, the newest first."""
    return storage.list_folders(checkpoints_folder(run))[::-1]


def is_complete(folder: str) -> bool:
    """Whether a checkpoint was written to its end."""
    return storage.exists(storage.join(folder, RECORD_FILE))
