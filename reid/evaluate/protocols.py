"""Evaluation protocols: which queries are asked, of which gallery, and which pairs do not count.

A protocol is data: whether it follows the data set's roles, and a list of exclusion rules. Every
rule is a function of label arrays, so that a new protocol is one entry of the registry.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid.errors import ConfigError
from reid.evaluate.items import (
    UNKNOWN,
    GalleryItem,
    Meta,
    Part,
    Parts,
    Provenance,
    Query,
    SampleLabels,
    Selected,
    Side,
    make_query,
    metas,
    parts_key,
)
from reid.modality import Modality, Subset, canonical

__all__ = [
    "PROTOCOLS",
    "GalleryItem",
    "Meta",
    "Part",
    "Parts",
    "Protocol",
    "Provenance",
    "Query",
    "Rule",
    "SampleLabels",
    "Selected",
    "Side",
    "get_protocol",
    "leakage",
    "make_query",
    "metas",
    "parts_key",
    "register",
    "same_camera",
    "same_sample",
    "same_scene",
]

Rule = Callable[[Meta, Meta], Tensor]


def same_sample(q: Meta, g: Meta) -> Tensor:
    """(Q, G) True where query and gallery item share a sample."""
    return _meet(q.samples, g.samples)


def leakage(q: Meta, g: Meta) -> Tensor:
    """(Q, G) True where one side was made from the other's sample, or both from the same one."""
    made = _meet(q.sources, g.samples) | _meet(q.samples, g.sources)
    return made | _meet(q.sources, g.sources)


def same_camera(q: Meta, g: Meta) -> Tensor:
    """(Q, G) True where identity and camera are the same; an unknown camera equals none."""
    camera = (q.camid[:, None] == g.camid[None, :]) & (q.camid[:, None] != UNKNOWN)
    return camera & (q.pid[:, None] == g.pid[None, :])


def same_scene(q: Meta, g: Meta) -> Tensor:
    """(Q, G) True where identity and location are the same; an unknown location equals none."""
    scene = (q.location[:, None] == g.location[None, :]) & (q.location[:, None] != UNKNOWN)
    return scene & (q.pid[:, None] == g.pid[None, :])


@dataclass(frozen=True)
class Protocol:
    """A named way to evaluate. `exclusions` says in words what `rules` do, for the report."""

    name: str
    summary: str
    exclusions: tuple[str, ...]
    rules: tuple[Rule, ...]
    use_roles: bool = True

    def queries(self, labels: Sequence[SampleLabels], subset: Iterable[Modality]) -> Selected[Query]:
        """The queries of one split in these modalities, ordered like `labels`; one a caption."""
        chosen = canonical(subset)
        rows, lacking = self._side(labels, chosen, "query")
        items = []
        for row in rows:
            for caption in range(len(row.captions)) if Modality.TEXT in chosen else [None]:
                items.append(make_query([(m, row, caption if m is Modality.TEXT else None) for m in chosen]))
        return Selected(tuple(items), lacking)

    def gallery(self, labels: Sequence[SampleLabels], subset: Iterable[Modality]) -> Selected[GalleryItem]:
        """The gallery of one split in these modalities, ordered like `labels`.

        One item a sample, with its first caption; a gallery of text alone has one item a caption.
        """
        chosen = canonical(subset)
        rows, lacking = self._side(labels, chosen, "gallery")
        items = []
        for row in rows:
            captions = range(len(row.captions)) if chosen == (Modality.TEXT,) else range(1)
            for caption in captions:
                item_id = f"{row.sample_id}#{caption}" if chosen == (Modality.TEXT,) else row.sample_id
                parts = {m: Part(row.sample_id, caption if m is Modality.TEXT else None) for m in chosen}
                items.append(GalleryItem(item_id, row.pid, row.camid, parts, row.viewid, row.location))
        return Selected(tuple(items), lacking)

    def exclude(self, q: Meta, g: Meta) -> Tensor:
        """(Q, G) bool, True = the pair does not count."""
        drop = torch.zeros(len(q), len(g), dtype=torch.bool)
        for rule in self.rules:
            drop |= rule(q, g)
        return drop

    def _side(
        self, labels: Sequence[SampleLabels], subset: Subset, side: Side
    ) -> tuple[list[SampleLabels], int]:
        mine = [r for r in labels if not self.use_roles or r.roles is None or side in r.roles]
        rows = [r for r in mine if set(subset) <= set(r.modalities)]
        return rows, len(mine) - len(rows)


PROTOCOLS: dict[str, Protocol] = {}


def register(protocol: Protocol) -> Protocol:
    """Make a protocol available by its name. Raises ConfigError if the name is taken."""
    if protocol.name in PROTOCOLS:
        raise ConfigError(f"There already is a protocol {protocol.name!r}.")
    PROTOCOLS[protocol.name] = protocol
    return protocol


def get_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises ConfigError naming the nearest and all known."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(sorted(PROTOCOLS))
    raise ConfigError(f"evaluate.protocol: unknown protocol {name!r}.{hint} Known: {known}.")


_SELF = "the query's own sample"
_LEAK = "items that the query was generated from, and items generated from the query or its source"

register(
    Protocol(
        name="cross_camera",
        summary="Find the identity in other cameras, with the data set's query and gallery roles.",
        exclusions=(
            "items of the same identity from the query's camera, where known",
            _SELF,
            _LEAK,
        ),
        rules=(same_camera, same_sample, leakage),
    )
)
register(
    Protocol(
        name="cross_scene",
        summary="Find the identity in other scenes, whatever the camera, with the data set's query and "
        "gallery roles.",
        exclusions=(
            "items of the same identity from the query's scene (location), where known",
            _SELF,
            _LEAK,
        ),
        rules=(same_scene, same_sample, leakage),
    )
)
register(
    Protocol(
        name="roles",
        summary="The data set's query and gallery roles as they are; cameras play no part.",
        exclusions=(_SELF, _LEAK),
        rules=(same_sample, leakage),
    )
)
register(
    Protocol(
        name="all",
        summary="Every sample of the split against every other, whatever its role or camera.",
        exclusions=(_SELF, _LEAK),
        rules=(same_sample, leakage),
        use_roles=False,
    )
)


def _meet(a: Tensor, b: Tensor) -> Tensor:
    """(N, K), (M, L) padded codes to (N, M) bool: do the two sets have a code in common?"""
    found = torch.zeros(len(a), len(b), dtype=torch.bool)
    left = a.masked_fill(a == UNKNOWN, UNKNOWN - 1)  # padding meets nothing, not even padding
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            found |= left[:, i, None] == b[None, :, j]
    return found
