"""RSTPReid: five photos of each person with two sentences each; the task is to find a person by a sentence.

One file, data_captions.json, has all labels; its paths are in img_path, those of other sets in file_path. The
data set's own numbers stay: pid = `id`, from 0. The list names no camera, so camid is unknown; the
text-to-image protocol excludes no pairs by camera.
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
    files=("data_captions.json",),
    first_id=0,
    tree="""Expected
  <path>/data_captions.json
  <path>/imgs/*.jpg
with a JSON list of {"id": 0, "split": "train", "img_path": "0.jpg", "captions": ["A …", "The …"]},
split train, val or test, training ids from 0 without a gap""",
)


class Config(AnnotatedFields, Plugin):
    """Where the unpacked data set lies."""

    name: Literal["rstp_reid"] = Field("rstp_reid", description="reader of the RSTPReid layout")


class Reader(base.Reader):
    """Reads RSTPReid as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every photo with its captions, as `read_annotated` (which names the errors)."""
        return read_annotated(self.config, LAYOUT, self.dataset, self.note)
