"""Exclusion rules: which pairs of query and gallery item are removed from the ranking. One function a rule.

A rule gets the label arrays of both sides and returns (Q, G) bool; True removes the pair. An unknown label
equals no label, not even another unknown one. To add a rule, write one function with `@rule()` here and its
description in `reid.config.protocols.rule_names`; protocols list its name in `exclude`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reid.config.protocols.rule_names import RULE_WORDS
from reid.errors import ConfigError
from reid.evaluate.protocols.label_arrays import UNKNOWN, LabelArrays

Function = Callable[[LabelArrays, LabelArrays], Tensor]
Label = Literal["camid", "location", "content_hash"]


@dataclass(frozen=True)
class Rule:
    """A registered rule. `words` completes "Not counted: ..."; `needs` is the label that it reads.

    >>> RULES["same_camera"].needs
    'camid'
    """

    name: str
    words: str
    function: Function
    needs: Label | None = None


RULES: dict[str, Rule] = {}


def rule(needs: Label | None = None) -> Callable[[Function], Function]:
    """Decorator: register a function as an exclusion rule under its own name.

    Args:
        needs: label without which the rule has no effect; used for warnings.

    Raises ConfigError when `RULE_WORDS` does not describe the function.

    >>> RULES["camera"].function is camera
    True
    """

    def add(function: Function) -> Function:
        name = function.__name__
        if name not in RULE_WORDS:
            raise ConfigError(
                f"Exclusion rule {name!r} has no words: add them to RULE_WORDS in "
                "reid/config/protocols/rule_names.py."
            )
        RULES[name] = Rule(name, RULE_WORDS[name], function, needs)
        return function

    return add


@rule()
def same_sample(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: query and item share a sample.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], samples=[[5, 6]]), coded_labels([1, 1], samples=[[6], [7]])
    >>> same_sample(q, g).tolist()
    [[True, False]]
    """
    return _meet(q.samples, g.samples)


@rule()
def leakage(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: one side was generated from a sample of the other, or both from the same sample.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q = coded_labels([1], samples=[[8]], sources=[[5]])
    >>> g = coded_labels([1, 1, 1], samples=[[5], [6], [7]], sources=[[-1], [5], [-1]])
    >>> leakage(q, g).tolist()  # its source, another picture made from that, and one apart
    [[True, True, False]]
    """
    made = _meet(q.sources, g.samples) | _meet(q.samples, g.sources)
    return made | _meet(q.sources, g.sources)


@rule(needs="content_hash")
def identical_file(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: a sample of the query and one of the item have the same content hash.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], contents=[[3]]), coded_labels([1, 2, 1], contents=[[3], [3], [-1]])
    >>> identical_file(q, g).tolist()
    [[True, True, False]]
    """
    return _meet(q.contents, g.contents)


@rule(needs="camid")
def same_camera(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: identity and camera are the same (Market-1501, RGBNT201, LLCM).

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], camid=[0]), coded_labels([1, 1, 2, 1], camid=[0, 3, 0, -1])
    >>> same_camera(q, g).tolist()
    [[True, False, False, False]]
    """
    return _equal(q.pid, g.pid) & _seen_by(q.camid, q.more_cameras, g.camid)


@rule(needs="location")
def same_scene(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: identity and location are the same (MSVR310; SYSU-MM01's Mix-Cam-ID).

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], location=[0]), coded_labels([1, 1, 2], location=[0, 3, 0])
    >>> same_scene(q, g).tolist()
    [[True, False, False]]
    """
    return _equal(q.pid, g.pid) & _seen_by(q.location, q.more_locations, g.location)


@rule()
def same_modality(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: identity and a modality are the same, so that matches are of other modalities.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], modalities=[0b01]), coded_labels([1, 1, 2], modalities=[0b11, 0b10, 0b01])
    >>> same_modality(q, g).tolist()
    [[True, False, False]]
    """
    return _equal(q.pid, g.pid) & ((q.modalities[:, None] & g.modalities[None, :]) != 0)


@rule(needs="camid")
def camera(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: the camera is the same, whatever the identity.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], camid=[0]), coded_labels([1, 2, 2], camid=[3, 0, -1])
    >>> camera(q, g).tolist()
    [[False, True, False]]
    """
    return _seen_by(q.camid, q.more_cameras, g.camid)


@rule(needs="location")
def location(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: the location is the same, whatever the identity (SYSU-MM01: cameras 2 and 3).

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], location=[0]), coded_labels([1, 2, 2], location=[3, 0, -1])
    >>> location(q, g).tolist()
    [[False, True, False]]
    """
    return _seen_by(q.location, q.more_locations, g.location)


@rule(needs="camid")
def source_camera(q: LabelArrays, g: LabelArrays) -> Tensor:
    """(Q, G) bool: the item's camera is the camera of a sample that the query was generated from.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> q, g = coded_labels([1], source_cameras=[[2]]), coded_labels([1, 5, 1], camid=[2, 2, 0])
    >>> source_camera(q, g).tolist()
    [[True, True, False]]
    """
    return _meet(q.source_cameras, g.camid[:, None])


def _seen_by(own: Tensor, more: Tensor | None, g: Tensor) -> Tensor:
    """(Q, G) bool: the item's camera (or location) is that of the query or of a part that accompanies it."""
    found = _equal(own, g)
    return found if more is None else found | _meet(more, g[:, None])


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """(N,), (M,) codes to (N, M) bool."""
    return _known(a)[:, None] == b[None, :]


def _meet(a: Tensor, b: Tensor) -> Tensor:
    """(N, K), (M, L) padded codes to (N, M) bool: do the two sets have a code in common?"""
    found = torch.zeros(len(a), len(b), dtype=torch.bool)
    left = _known(a)
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            found |= left[:, i, None] == b[None, :, j]
    return found


def _known(codes: Tensor) -> Tensor:
    """UNKNOWN becomes a code that nothing has."""
    return codes.masked_fill(codes == UNKNOWN, UNKNOWN - 1)
