"""RGBNT201: persons in aligned RGB, near-infrared and thermal pictures.

The data set's own numbers stay: pid = the first six digits of the name, camera = the digit of
`cam<d>` minus one. Query and gallery of the test set are the same pictures. A capture that lacks one
of its three files becomes a sample of the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from reid import storage
from reid.config import Plugin
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.shared.folders import contents, expand, file_name
from reid.data.shards.schema import ROLES, Labels
from reid.errors import DataError
from reid.modality import Modality

LAYOUT = """Expected the folders
  <path>/train_171/{RGB,NI,TI}/*.jpg
  <path>/test/{RGB,NI,TI}/*.jpg
with one name in all three, e.g. 000028_cam1_0_02.jpg"""
_FOLDERS = {Modality.RGB: "RGB", Modality.NIR: "NI", Modality.TIR: "TI"}
_SPLITS = {"train_171": "train", "test": "test"}
_NAME = re.compile(r"(?P<pid>[0-9]{6})_cam(?P<camera>[1-9])(_.*)?", re.IGNORECASE)


class Config(Plugin):
    """Where the unpacked data set lies."""

    name: Literal["rgbnt201"] = Field("rgbnt201", description="reader of the RGBNT201 layout")
    path: str = Field(description="folder with train_171 and test; may hold ${VARIABLES}")


class Reader(base.Reader):
    """Reads RGBNT201 as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every picture, train first, by name. Raises DataError when the layout is another."""
        root = expand(self.config.path, "data.reader.path")
        if not storage.exists(root):
            raise DataError(f"data.reader.path: no such folder: {root}.\n{LAYOUT}")
        records: list[Record] = []
        walk = storage.Walk(root, ["jpg"])
        for folder, split in _SPLITS.items():
            found = self._split(walk, root, folder, split)
            if not found:
                raise DataError(f"{storage.join(root, folder)}: no .jpg file.\n{LAYOUT}")
            records += found
        return self.with_left_out(records, walk)

    def _split(self, walk: storage.Walk, root: str, folder: str, split: str) -> list[Record]:
        files: dict[str, dict[Modality, str]] = {}
        for modality, below in _FOLDERS.items():
            uri = storage.join(root, folder, below)
            if not storage.exists(uri):
                where = storage.join(root, folder)
                shown = where if storage.exists(where) else root
                raise DataError(f"{uri} is missing. Found in {shown}: {contents(shown)}.\n{LAYOUT}")
            for file in walk.files(uri):
                files.setdefault(file_name(file).rpartition(".")[0], {})[modality] = file
        return [self._record(folder, split, name, files[name]) for name in sorted(files)]

    def _record(self, folder: str, split: str, name: str, files: dict[Modality, str]) -> Record:
        match = _NAME.fullmatch(name)
        problem = None
        if match is None:
            somewhere = next(iter(files.values()))
            problem = f"{somewhere}: the name has no <6-digit pid>_cam<1-9>_; rename or remove the file."
        labels = Labels(
            sample_id=f"{folder}/{name}",
            dataset=self.dataset,
            split=split,
            pid=int(match["pid"]) if match else -1,
            roles=ROLES if split == "test" else None,
            camid=int(match["camera"]) - 1 if match else None,
        )
        return Record(labels=labels, images=files, problem=problem)
