"""MSVR310: vehicles in aligned RGB, near-infrared and thermal pictures, taken in many scenes.

The data set's own numbers stay: pid = the first four digits of the name, camera = the view digit of
`v<d>`, location = the number of `s<ddd>`, the scene. Its protocol (cross_scene) excludes the query's own
scene. A capture that lacks one of its three files becomes a sample of the others.
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
from reid.data.shards.schema import Labels
from reid.errors import DataError
from reid.modality import Modality

LAYOUT = """Expected the folders
  <path>/bounding_box_train/<4-digit pid>/{vis,ni,th}/*.jpg
  <path>/query3/<4-digit pid>/{vis,ni,th}/*.jpg
  <path>/bounding_box_test/<4-digit pid>/{vis,ni,th}/*.jpg
with one name in all three, e.g. 0019/vis/0019_s012_v0_000.jpg"""
_MODALITIES = {Modality.RGB: "vis", Modality.NIR: "ni", Modality.TIR: "th"}
_NAME = re.compile(r"(?P<pid>[0-9]{4})_s(?P<scene>[0-9]{3})_v(?P<view>[0-7])(_.*)?", re.IGNORECASE)

# Query pictures also lie in bounding_box_test under the same name: the folder in the sample id keeps the
# two apart. A query does not find its own picture, because the copy has its identity, its scene and its
# camera, and the protocols by scene and by camera exclude such pairs.
_FOLDERS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "bounding_box_train": ("train", None),
    "query3": ("test", ("query",)),
    "bounding_box_test": ("test", ("gallery",)),
}


class Config(Plugin):
    """Where the unpacked data set lies."""

    name: Literal["msvr310"] = Field("msvr310", description="reader of the MSVR310 layout")
    path: str = Field(
        description="folder with bounding_box_train, query3 and bounding_box_test; may hold ${VARIABLES}"
    )


class Reader(base.Reader):
    """Reads MSVR310 as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every picture: train, query, gallery, each by name. Raises DataError when the layout is another."""
        root = expand(self.config.path, "data.reader.path")
        if not storage.exists(root):
            raise DataError(f"data.reader.path: no such folder: {root}.\n{LAYOUT}")
        walk = storage.Walk(root, ["jpg"])
        records = [record for folder in _FOLDERS for record in self._folder(walk, root, folder)]
        return self.with_left_out(records, walk)

    def _folder(self, walk: storage.Walk, root: str, folder: str) -> list[Record]:
        uri = storage.join(root, folder)
        if not storage.exists(uri):
            raise DataError(f"{uri} is missing. Found in {root}: {contents(root)}.\n{LAYOUT}")
        files: dict[str, dict[Modality, str]] = {}
        identities = walk.folders(uri)
        for identity in identities:
            for modality, below in _MODALITIES.items():
                for file in walk.files(storage.join(identity, below)):
                    stem = file_name(file).rpartition(".")[0]
                    files.setdefault(f"{file_name(identity)}/{stem}", {})[modality] = file
        for modality, below in _MODALITIES.items():
            if not any(modality in found for found in files.values()):
                shown = identities[0] if identities else uri
                raise DataError(
                    f"{uri}: no .jpg file in any <pid>/{below}. "
                    f"Found in {shown}: {contents(shown)}.\n{LAYOUT}"
                )
        return [self._record(folder, name, files[name]) for name in sorted(files)]

    def _record(self, folder: str, name: str, files: dict[Modality, str]) -> Record:
        split, roles = _FOLDERS[folder]
        identity, _, stem = name.partition("/")
        match = _NAME.fullmatch(stem)
        problem = None
        if match is None or match["pid"] != identity:
            somewhere = next(iter(files.values()))
            wanted = "<4-digit pid>_s<3-digit scene>_v<0-7>"
            problem = f"{somewhere}: the name is not {wanted} of its folder's pid; rename or remove the file."
        labels = Labels(
            sample_id=f"{folder}/{name}",
            dataset=self.dataset,
            split=split,
            pid=int(match["pid"]) if match else -1,
            roles=roles,
            camid=int(match["view"]) if match else None,
            location=str(int(match["scene"])) if match else None,
        )
        return Record(labels=labels, images=files, problem=problem)
