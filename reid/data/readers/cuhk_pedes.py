"""CUHK-PEDES: photos of persons with about two sentences each; the task is to find a person by a sentence.

One file, reid_raw.json, has all labels. The data set's own numbers stay: pid = `id`, from 1. Captions keep
their order and number. The folders below imgs are the data sets that the photos come from, not cameras, so
camid is unknown; the text-to-image protocol excludes no pairs by camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from reid.config import Plugin
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.shared.annotations import AnnotatedFields, Layout, read_annotated

LAYOUT = Layout(
    files=("reid_raw.json",),
    first_id=1,
    tree="""Expected
  <path>/reid_raw.json
  <path>/imgs/{cam_a,cam_b,CUHK01,CUHK03,Market,test_query,train_query}/<pictures>
with a JSON list of {"id": 1, "split": "train", "file_path": "CUHK01/0363004.png", "captions": ["A …"]},
split train, val or test, training ids from 1 without a gap""",
)


class Config(AnnotatedFields, Plugin):
    """Where the unpacked data set lies."""

    name: Literal["cuhk_pedes"] = Field("cuhk_pedes", description="reader of the CUHK-PEDES layout")


class Reader(base.Reader):
    """Reads CUHK-PEDES as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every photo with its captions, as `read_annotated` (which names the errors)."""
        return read_annotated(self.config, LAYOUT, self.dataset, self.note)
