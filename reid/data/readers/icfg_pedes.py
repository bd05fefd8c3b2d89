"""ICFG-PEDES: photos of persons with one long sentence each; the task is to find a person by a sentence.

One file, ICFG-PEDES.json (also spelled ICFG_PEDES.json), has all labels; there is no validation split. The
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
    files=("ICFG-PEDES.json", "ICFG_PEDES.json"),
    first_id=0,
    tree="""Expected
  <path>/ICFG-PEDES.json (or ICFG_PEDES.json)
  <path>/imgs/{train,test}/<pictures, in folders of their own or not>
with a JSON list of {"id": 0, "split": "train", "file_path": "train/0000/0.jpg", "captions": ["A …"]},
split train or test, training ids from 0 without a gap""",
)


class Config(AnnotatedFields, Plugin):
    """Where the unpacked data set lies."""

    name: Literal["icfg_pedes"] = Field("icfg_pedes", description="reader of the ICFG-PEDES layout")


class Reader(base.Reader):
    """Reads ICFG-PEDES as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every photo with its caption, as `read_annotated` (which names the errors)."""
        return read_annotated(self.config, LAYOUT, self.dataset, self.note)
