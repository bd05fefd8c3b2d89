"""Market-1501: persons in RGB pictures of six cameras, the usual benchmark of a single modality.

The data set's own numbers stay: pid = the digits before `_c`, camera = the digit after it minus one; the
sequence, frame and index of the name are kept in `extra`. Two numbers are no persons. 0 marks distractors,
boxes of another person or object, which stay in the gallery and match no query. -1 marks junk boxes, which by
the set's rules do not affect a ranking: they are left out, and their number is logged.
"""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

LAYOUT = """Expected the folders
  <path>/bounding_box_train/*.jpg
  <path>/query/*.jpg
  <path>/bounding_box_test/*.jpg
(or all of them in <path>/Market-1501-v15.09.15) with names <pid>_c<camera 1-6>s<sequence>_<frame>_<index>,
e.g. 0002_c1s1_000451_03.jpg; pid 0000 is a distractor, -1 is junk"""
_INNER = "Market-1501-v15.09.15"
_NAME = re.compile(
    r"(?P<pid>-1|[0-9]{1,9})_c(?P<camera>[1-6])s(?P<sequence>[0-9]+)_(?P<frame>[0-9]+)_(?P<index>[0-9]+)"
    r"(\.jpg)?",  # a name may end in .jpg.jpg
    re.IGNORECASE,
)
_JUNK = "-1"
_DISTRACTOR = 0
_GALLERY = "bounding_box_test"
_FOLDERS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "bounding_box_train": ("train", None),
    "query": ("test", ("query",)),
    _GALLERY: ("test", ("gallery",)),
}


class Config(Plugin):
    """Where the unpacked data set lies."""

    name: Literal["market1501"] = Field("market1501", description="reader of the Market-1501 layout")
    path: str = Field(
        description="folder with bounding_box_train, query and bounding_box_test, or the one above; may hold "
        "${VARIABLES}"
    )


class Reader(base.Reader):
    """Reads Market-1501 as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every picture but junk: train, query, gallery, each by name.

        Raises DataError when the layout is another.
        """
        root = expand(self.config.path, "data.reader.path")
        if not storage.exists(root):
            raise DataError(f"data.reader.path: no such folder: {root}.\n{LAYOUT}")
        inner = storage.join(root, _INNER)
        root = inner if storage.exists(inner) else root
        walk = storage.Walk(root, ["jpg"])
        records = [record for folder in _FOLDERS for record in self._folder(walk, root, folder)]
        return self.with_left_out(records, walk)

    def _folder(self, walk: storage.Walk, root: str, folder: str) -> list[Record]:
        uri = storage.join(root, folder)
        if not storage.exists(uri):
            raise DataError(f"{uri} is missing. Found in {root}: {contents(root)}.\n{LAYOUT}")
        files = walk.files(uri)
        if not files:
            raise DataError(f"{uri}: no .jpg file. Found in it: {contents(uri)}.\n{LAYOUT}")
        parsed = [(file, _NAME.fullmatch(_stem(file))) for file in files]
        kept = [(file, match) for file, match in parsed if match is None or match["pid"] != _JUNK]
        if len(kept) < len(parsed):
            log.info("%s: %d junk boxes (pid -1) left out", uri, len(parsed) - len(kept))
        return [self._record(folder, file, match) for file, match in kept]

    def _record(self, folder: str, uri: str, match: re.Match[str] | None) -> Record:
        split, roles = _FOLDERS[folder]
        problem = None
        if match is None:
            problem = f"{uri}: the name is no <pid>_c<1-6>s<d>_<frame>_<index>; rename or remove the file."
        elif int(match["pid"]) == _DISTRACTOR and folder != _GALLERY:
            problem = f"{uri}: a distractor (pid 0) belongs in {_GALLERY} only; move or remove the file."
        labels = Labels(
            sample_id=f"{folder}/{_stem(uri)}",
            dataset=self.dataset,
            split=split,
            pid=int(match["pid"]) if match else -1,
            roles=roles,
            camid=int(match["camera"]) - 1 if match else None,
            extra={key: match[key] for key in ("sequence", "frame", "index")} if match else {},
        )
        return Record(labels=labels, images={Modality.RGB: uri}, problem=problem)


def _stem(uri: str) -> str:
    return file_name(uri).rpartition(".")[0]
