"""RegDB: persons in visible or thermal pictures of one pair of cameras, with ten published splits.

A sample is one picture of one modality. pid = the number of the picture's folder, the same in both modalities
and all splits; the lists' labels start again in every list and serve as a check only. Camera 0 is the visible
one, camera 1 the thermal one. A listed picture is rejected if it is missing or its folder is no number;
pictures outside the split are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from reid.config import Plugin
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.shared.folders import expand
from reid.data.readers.shared.id_lists import ListLine, check_labels, read_entries, require, require_disjoint
from reid.data.shards.schema import ROLES, Labels
from reid.modality import Modality

LAYOUT = """Expected
  <path>/Visible/<identity>/*.bmp
  <path>/Thermal/<identity>/*.bmp
  <path>/idx/{train,test}_{visible,thermal}_<trial, 1 to 10>.txt
with lines `<relative path> <label from 0>`, e.g. Visible/7/front_v_00001_7.bmp 3"""
_SPLITS = ("train", "test")
_MODALITIES = {"visible": Modality.RGB, "thermal": Modality.TIR}


class Config(Plugin):
    """Where the unpacked data set lies, and which of its splits is read."""

    name: Literal["regdb"] = Field("regdb", description="reader of the RegDB layout")
    path: str = Field(description="folder with Visible, Thermal and idx; may hold ${VARIABLES}")
    trial: int = Field(1, ge=1, le=10, description="which of the ten splits; published results average them")


class Reader(base.Reader):
    """Reads one split of RegDB as published."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every listed picture: train, test, each visible, thermal, by path.

        Raises DataError when the layout is another, or the lists are damaged or contradict each other.
        """
        root = expand(self.config.path, "data.reader.path")
        parts = {
            (s, kind): f"idx/{s}_{kind}_{self.config.trial}.txt" for s in _SPLITS for kind in _MODALITIES
        }
        require(root, parts.values(), LAYOUT)
        entries = {key: read_entries(root, part, LAYOUT, self.note) for key, part in parts.items()}
        for split in _SPLITS:
            check_labels([e for kind in _MODALITIES for e in entries[split, kind]])
        require_disjoint(
            {
                f"the {split} lists of trial {self.config.trial}": [
                    e.pid for kind in _MODALITIES for e in entries[split, kind] if e.pid is not None
                ]
                for split in _SPLITS
            }
        )
        return [self._record(split, kind, e) for (split, kind), found in entries.items() for e in found]

    def _record(self, split: str, kind: str, entry: ListLine) -> Record:
        labels = Labels(
            sample_id=entry.name,
            dataset=self.dataset,
            split=split,
            pid=-1 if entry.pid is None else entry.pid,
            roles=ROLES if split == "test" else None,
            camid=list(_MODALITIES).index(kind),
        )
        return Record(labels=labels, images={_MODALITIES[kind]: entry.uri}, problem=entry.problem)
