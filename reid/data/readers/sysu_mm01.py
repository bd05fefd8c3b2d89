"""SYSU-MM01: persons in RGB or near-infrared pictures of six cameras.

A sample is one picture of one modality: cameras 1, 2, 4 and 5 are RGB, 3 and 6 near-infrared. The data set's
own numbers stay: pid = the identity's folder, camera = the folder's digit minus one. Cameras 2 and 3 are in
one room and share the location "2". Splits are the lists of `exp`; folders of unlisted identities are
ignored, and a listed identity without a picture is rejected. An identity need not be seen by every camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from reid import storage
from reid.config import Plugin
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.shared.folders import expand, file_name
from reid.data.readers.shared.id_lists import (
    no_pictures,
    pictures_by_id,
    read_ids,
    require,
    require_disjoint,
    without_pictures,
)
from reid.data.shards.schema import ROLES, Labels
from reid.modality import Modality

LAYOUT = """Expected
  <path>/cam{1,2,3,4,5,6}/<identity, 4 digits>/*.jpg, e.g. cam3/0007/0001.jpg
  <path>/exp/train_id.txt, val_id.txt and test_id.txt, each identities with commas between"""
CAMERAS = {
    1: Modality.RGB,
    2: Modality.RGB,
    3: Modality.NIR,
    4: Modality.RGB,
    5: Modality.RGB,
    6: Modality.NIR,
}
"""What the cameras see, by the number of their folder."""
_LOCATIONS = {3: "2"}
_LISTS = {name: f"exp/{name}_id.txt" for name in ("train", "val", "test")}


class Config(Plugin):
    """Where the unpacked data set lies, and what its validation identities are for."""

    name: Literal["sysu_mm01"] = Field("sysu_mm01", description="reader of the SYSU-MM01 layout")
    path: str = Field(description="folder with cam1 to cam6 and exp; may hold ${VARIABLES}")
    val: Literal["train", "val"] = Field(
        "train",
        description="split of the identities in val_id.txt; train: published results train on all 395",
    )


class Reader(base.Reader):
    """Reads SYSU-MM01 as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every picture of a listed identity, by list, identity, camera and name.

        Raises DataError when the layout is another, or a list is damaged or shares identities with another.
        """
        root = expand(self.config.path, "data.reader.path")
        require(root, [*_LISTS.values(), *(f"cam{c}" for c in CAMERAS)], LAYOUT)
        lists = {name: read_ids(storage.join(root, part), self.note) for name, part in _LISTS.items()}
        require_disjoint({_LISTS[name]: ids for name, ids in lists.items()})
        all_pids = [pid for ids in lists.values() for pid in ids]
        walk = storage.Walk(root, ["jpg"])
        files = {c: pictures_by_id(walk, storage.join(root, f"cam{c}"), all_pids) for c in CAMERAS}
        for camera, found in files.items():
            if not found:
                raise no_pictures(storage.join(root, f"cam{camera}"), LAYOUT)
        records: list[Record] = []
        for name, ids in lists.items():
            split = self.config.val if name == "val" else name
            for pid in ids:
                mine = [self._record(split, pid, c, f) for c in CAMERAS for f in files[c].get(pid, ())]
                listed = storage.join(root, _LISTS[name])
                records += mine or [without_pictures(self.dataset, split, pid, listed, "cam<1-6>")]
        return self.with_left_out(records, walk)

    def _record(self, split: str, pid: int, camera: int, uri: str) -> Record:
        labels = Labels(
            sample_id=f"cam{camera}/{pid:04d}/{file_name(uri).rpartition('.')[0]}",
            dataset=self.dataset,
            split=split,
            pid=pid,
            roles=ROLES if split == "test" else None,
            camid=camera - 1,
            location=_LOCATIONS.get(camera, str(camera)),
        )
        return Record(labels=labels, images={CAMERAS[camera]: uri})
