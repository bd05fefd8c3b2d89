"""RGBNT100: vehicles in RGB, near-infrared and thermal, side by side in one picture.

A file is a strip of three equal pictures, RGB | NIR | TIR from left to right (768x128 as published). It is
cut when it is loaded, and the thirds are stored as PNG, so that no pixel is compressed twice. The data set's
own numbers stay: pid = the digits before `_c`, camera = the digits after it minus one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image as PILImage
from pydantic import Field

from reid import storage
from reid.config import Plugin
from reid.data.images import check_whole, encode_png, open_image
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.shared.folders import contents, expand, file_name
from reid.data.shards.schema import Image, Labels, Sample
from reid.errors import DataError
from reid.modality import Modality

LAYOUT = """Expected the folders
  <path>/rgbir/bounding_box_train/*.jpg
  <path>/rgbir/query/*.jpg
  <path>/rgbir/bounding_box_test/*.jpg
(or <path> is rgbir itself) with strips of three pictures, RGB | NIR | TIR, e.g. 0561_c0001_006.jpg"""
STRIP = (Modality.RGB, Modality.NIR, Modality.TIR)
"""What the thirds of a file show, from left to right."""
_NAME = re.compile(r"(?P<pid>[0-9]+)_c(?P<camera>[0-9]*[1-9][0-9]*)(_.*)?", re.IGNORECASE)

# Query pictures also lie in bounding_box_test under the same name: the folder in the sample id keeps the
# two apart. A query does not find its own picture, because the copy has its identity and its camera, and
# the data set's protocol (cross_camera) excludes such pairs.
_FOLDERS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "bounding_box_train": ("train", None),
    "query": ("test", ("query",)),
    "bounding_box_test": ("test", ("gallery",)),
}


class Config(Plugin):
    """Where the unpacked data set lies."""

    name: Literal["rgbnt100"] = Field("rgbnt100", description="reader of the RGBNT100 layout")
    path: str = Field(description="folder with rgbir, or rgbir itself; may hold ${VARIABLES}")


class Reader(base.Reader):
    """Reads RGBNT100 as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every strip: train, query, gallery, each by name. Raises DataError when the layout is another."""
        root = expand(self.config.path, "data.reader.path")
        if not storage.exists(root):
            raise DataError(f"data.reader.path: no such folder: {root}.\n{LAYOUT}")
        inner = storage.join(root, "rgbir")
        root = inner if storage.exists(inner) else root
        walk = storage.Walk(root, ["jpg"])
        records = [record for folder in _FOLDERS for record in self._folder(walk, root, folder)]
        return self.with_left_out(records, walk)

    def key(self, record: Record) -> Any:
        """Like the base's, with one look at the one file."""
        if not record.images:
            return super().key(record)
        (uri,) = set(record.images.values())
        return [base.label_values(record.labels), uri, storage.stamp(uri), record.problem]

    def load(self, record: Record, max_pixels: int) -> Sample:
        """Cut a strip into its three pictures. Raises DataError naming the file that cannot be used."""
        if record.problem:
            raise DataError(record.problem)
        (uri,) = set(record.images.values())
        data = storage.read_bytes(uri)
        images = cut(open_image(data, uri, max_pixels), uri)
        check_whole(data, uri)
        return Sample(labels=record.labels, images=images, content_hash=storage.sha256(data))

    def _folder(self, walk: storage.Walk, root: str, folder: str) -> list[Record]:
        uri = storage.join(root, folder)
        if not storage.exists(uri):
            raise DataError(f"{uri} is missing. Found in {root}: {contents(root)}.\n{LAYOUT}")
        files = walk.files(uri)
        if not files:
            raise DataError(f"{uri}: no .jpg file. Found in it: {contents(uri)}.\n{LAYOUT}")
        return [self._record(folder, file) for file in files]

    def _record(self, folder: str, uri: str) -> Record:
        split, roles = _FOLDERS[folder]
        stem = file_name(uri).rpartition(".")[0]
        match = _NAME.fullmatch(stem)
        problem = None
        if match is None:
            problem = f"{uri}: the name has no <pid>_c<camera from 1>; rename or remove the file."
        labels = Labels(
            sample_id=f"{folder}/{stem}",
            dataset=self.dataset,
            split=split,
            pid=int(match["pid"]) if match else -1,
            roles=roles,
            camid=int(match["camera"]) - 1 if match else None,
        )
        return Record(labels=labels, images=dict.fromkeys(STRIP, uri), problem=problem)


def cut(strip: PILImage.Image, source: str) -> dict[Modality, Image]:
    """The thirds of a strip as PNG, pixel for pixel. Raises DataError if they would not be equally wide."""
    width, rest = divmod(strip.width, len(STRIP))
    if rest:
        raise DataError(
            f"{source}: {strip.width}x{strip.height} is no strip of three equally wide pictures; "
            "fetch the file again or remove it."
        )
    pixels = np.asarray(strip)  # (H, 3 * width, 3), or (H, 3 * width) if it is grey
    return {
        modality: Image(encode_png(pixels[:, i * width : (i + 1) * width]), width, strip.height)
        for i, modality in enumerate(STRIP)
    }
