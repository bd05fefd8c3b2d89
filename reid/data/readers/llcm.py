"""LLCM: persons in visible or near-infrared pictures of nine cameras with both modalities.

A sample is one picture of one modality. pid = the number of the identity's folder. camera = a number minus
one, the same for both modalities: the folder's number in the test set, the number of `_c<number>` in the name
of a training picture, unknown without it. Rejected are training pictures that are listed but missing or whose
folder is no number, and test identities without a picture. Files that no list names are ignored.
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
from reid.data.readers.shared.id_lists import (
    ListLine,
    check_labels,
    no_pictures,
    pictures_by_id,
    read_entries,
    read_ids,
    require,
    require_disjoint,
    without_pictures,
)
from reid.data.shards.schema import ROLES, Labels
from reid.errors import DataError
from reid.modality import Modality

LAYOUT = """Expected
  <path>/idx/train_vis.txt and train_nir.txt, lines `<relative path> <label from 0>`,
    e.g. nir/0351/0351_c06_s200656_f4830_nir.jpg 250
  <path>/idx/test_id.txt, identities with commas between
  <path>/{vis,nir}/<identity, 4 digits>/*.jpg
  <path>/{test_vis,test_nir}/cam<1 to 9>/<identity, 4 digits>/*.jpg"""
_MODALITIES = {"vis": Modality.RGB, "nir": Modality.NIR}
_TEST_IDS = "idx/test_id.txt"
_CAMERA_FOLDER = re.compile(r"cam([1-9])")
_CAMERA_NAME = re.compile(r"_c0*([1-9])(?=[_.])", re.IGNORECASE)


class Config(Plugin):
    """Where the unpacked data set lies."""

    name: Literal["llcm"] = Field("llcm", description="reader of the LLCM layout")
    path: str = Field(
        description="folder with idx, vis, nir, test_vis and test_nir; may hold ${VARIABLES}",
    )


class Reader(base.Reader):
    """Reads LLCM as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every listed picture: train visible, train infrared, by path; test by identity, camera and name.

        Raises DataError when the layout is another, or the lists are damaged or contradict each other.
        """
        root = expand(self.config.path, "data.reader.path")
        lists = {kind: f"idx/train_{kind}.txt" for kind in _MODALITIES}
        require(root, [*lists.values(), _TEST_IDS, *(f"test_{kind}" for kind in _MODALITIES)], LAYOUT)
        entries = {kind: read_entries(root, part, LAYOUT, self.note) for kind, part in lists.items()}
        together = [e for found in entries.values() for e in found]
        check_labels(together)
        ids = read_ids(storage.join(root, _TEST_IDS), self.note)
        require_disjoint(
            {" with ".join(lists.values()): [e.pid for e in together if e.pid is not None], _TEST_IDS: ids}
        )
        train = [self._train(kind, entry) for kind, found in entries.items() for entry in found]
        return train + self._test(root, ids)

    def _train(self, kind: str, entry: ListLine) -> Record:
        camera = _CAMERA_NAME.search(file_name(entry.path))
        labels = Labels(
            sample_id=entry.name,
            dataset=self.dataset,
            split="train",
            pid=-1 if entry.pid is None else entry.pid,
            camid=int(camera[1]) - 1 if camera else None,
        )
        return Record(labels=labels, images={_MODALITIES[kind]: entry.uri}, problem=entry.problem)

    def _test(self, root: str, ids: Sequence[int]) -> list[Record]:
        walk = storage.Walk(root, ["jpg"])
        by_id: dict[int, list[Record]] = {pid: [] for pid in ids}
        for kind in _MODALITIES:
            folder = storage.join(root, f"test_{kind}")
            cameras = {
                int(match[1]): uri
                for uri in walk.folders(folder)
                if (match := _CAMERA_FOLDER.fullmatch(file_name(uri)))
            }
            if not cameras:
                raise DataError(
                    f"{folder}: no folder cam<1 to 9>. Found in it: {contents(folder)}.\n{LAYOUT}"
                )
            pictures = {camera: pictures_by_id(walk, uri, ids) for camera, uri in sorted(cameras.items())}
            if not any(pictures.values()):  # a single camera may have none: nothing is infrared at the third
                raise no_pictures(cameras[min(cameras)], LAYOUT)
            for camera, found in pictures.items():
                for pid, files in found.items():
                    by_id[pid] += [self._picture(kind, camera, pid, file) for file in files]
        listed = storage.join(root, _TEST_IDS)
        where = "test_{vis,nir}/cam<1-9>"
        tested = [
            record
            for pid, found in by_id.items()
            for record in found or [without_pictures(self.dataset, "test", pid, listed, where)]
        ]
        return self.with_left_out(tested, walk)

    def _picture(self, kind: str, camera: int, pid: int, uri: str) -> Record:
        labels = Labels(
            sample_id=f"test_{kind}/cam{camera}/{pid:04d}/{file_name(uri).rpartition('.')[0]}",
            dataset=self.dataset,
            split="test",
            pid=pid,
            roles=ROLES,
            camid=camera - 1,
        )
        return Record(labels=labels, images={_MODALITIES[kind]: uri})
