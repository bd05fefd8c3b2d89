"""A reader's record as a short text, and back: what plan files hold."""

from __future__ import annotations

import json
from typing import Any

import pydantic_core

from reid.data.readers.base import Record
from reid.data.shards.schema import Labels, SampleAttribute
from reid.modality import Modality

_ALWAYS = ("sample_id", "dataset", "split", "pid")
_MAYBE = ("roles", "camid", "viewid", "location", "timestamp", "tracklet_id")


def packed(record: Record) -> bytes:
    """A record as JSON without what is not said.

    >>> packed(Record(Labels(sample_id="a", dataset="mine", split="test", pid=7)))
    b'{"labels":{"sample_id":"a","dataset":"mine","split":"test","pid":7}}'
    """
    given = vars(record.labels)
    labels: dict[str, Any] = {name: given[name] for name in _ALWAYS}
    for name in _MAYBE:
        value = given[name]
        if value is not None:
            labels[name] = value
    if given["attributes"]:
        labels["attributes"] = [vars(one) for one in given["attributes"]]
    if given["extra"]:
        labels["extra"] = given["extra"]
    tree: dict[str, Any] = {"labels": labels}
    if record.images:
        tree["images"] = {modality.value: uri for modality, uri in record.images.items()}
    for name in ("captions", "details"):
        if value := getattr(record, name):
            tree[name] = value
    for name in ("problem", "mask"):
        if (value := getattr(record, name)) is not None:
            tree[name] = value
    try:
        return pydantic_core.to_json(tree, inf_nan_mode="constants")
    except ValueError:  # a text that is no Unicode: half of a pair
        return json.dumps(tree, separators=(",", ":")).encode()


def unpacked(text: bytes) -> Record:
    """The inverse of `packed`.

    >>> unpacked(b'{"labels":{"sample_id":"a","dataset":"mine","split":"test","pid":7}}').labels.pid
    7
    """
    try:
        tree = pydantic_core.from_json(text)
    except ValueError:
        tree = json.loads(text)
    labels = tree["labels"]
    if "roles" in labels:
        labels["roles"] = tuple(labels["roles"])
    if "attributes" in labels:
        labels["attributes"] = tuple(SampleAttribute(**one) for one in labels["attributes"])
    tree["labels"] = Labels(**labels)
    if "images" in tree:
        tree["images"] = {Modality(name): uri for name, uri in tree["images"].items()}
    if "captions" in tree:
        tree["captions"] = tuple(tree["captions"])
    return Record(**tree)
