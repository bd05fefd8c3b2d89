"""The usual evaluation of a data set on labels alone: which queries have a match at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch

from reid.data.shards.schema import Image, Labels, Sample
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.support import is_measured
from reid.modality import INFRARED, ORDER, PHOTO, Modality, canonical

_ROWS = 512
Place = tuple[Modality, str]
"""An item on one side: its modality and its sample."""


class ProtocolTrial:
    """Queries and gallery of the test split under a protocol, in single modalities.

    Sample ids must be unique.
    """

    def __init__(self, protocol: Protocol, entries: Sequence[ExaminedSample]) -> None:
        self.protocol = protocol.with_split("test")
        self.entries = [e for e in entries if e.split in ("test", *protocol.splits)]
        labels = [SampleLabels.of(e.sample) for e in self.entries]
        rank = {row.sample_id: (row.dataset, row.pid) for row in labels}
        present = canonical(m for row in labels for m in row.modalities)
        asked = {(q, g) for q in present for g in present if is_measured(protocol, q, g)}
        queries: dict[Place, ProtocolQuery] = {}
        gallery: dict[Place, GalleryItem] = {}
        for m in present:
            if any(m is q for q, _ in asked):
                for query in self.protocol.queries(labels, (m,)).items:
                    queries.setdefault((m, query.parts[m].sample_id), query)  # its captions are alike here
            if any(m is g for _, g in asked):
                for item in self.protocol.gallery(labels, (m,)).items:
                    gallery.setdefault((m, item.parts[m].sample_id), item)
        # Sorted by identity, so that one identity is a slice.
        self._queries = sorted(queries, key=lambda place: rank[place[1]])
        self._gallery = sorted(gallery, key=lambda place: rank[place[1]])
        self._rank = rank
        self._asked = asked
        self._fits = torch.tensor([[(q, g) in asked for g in ORDER] for q in ORDER])
        self._q, self._g = label_arrays_of(
            [queries[p] for p in self._queries], [gallery[p] for p in self._gallery], labels
        )
        self._query_at = {place: i for i, place in enumerate(self._queries)}
        self._gallery_at = {place: i for i, place in enumerate(self._gallery)}

    def counts(self, query: Place, item: Place) -> bool:
        """Whether both are part of the evaluation and the pair is not excluded."""
        i, j = self._query_at.get(query), self._gallery_at.get(item)
        if i is None or j is None or (query[0], item[0]) not in self._asked:
            return False
        return not self.protocol.exclude(self._q[i : i + 1], self._g[j : j + 1]).item()

    def unanswerable(self) -> list[str]:
        """Sample ids of queries without a match in the gallery, in any of their modalities."""
        where = _slices([self._rank[name] for _, name in self._gallery])
        answered: set[str] = set()
        for identity, mine in _slices([self._rank[name] for _, name in self._queries]).items():
            if identity not in where:
                continue
            found = where[identity]
            g_modality = torch.tensor([ORDER.index(m) for m, _ in self._gallery[found]])
            for start in range(mine.start, mine.stop, _ROWS):
                rows = slice(start, min(start + _ROWS, mine.stop))
                q_modality = torch.tensor([ORDER.index(m) for m, _ in self._queries[rows]])
                fits = self._fits[q_modality[:, None], g_modality[None, :]]  # (q, g)
                kept = (fits & ~self.protocol.exclude(self._q[rows], self._g[found])).any(1).tolist()
                answered |= {name for (_, name), ok in zip(self._queries[rows], kept, strict=True) if ok}
        return [name for name in dict.fromkeys(name for _, name in self._queries) if name not in answered]

    def findings(self) -> list[Finding]:
        """Problems of the test split as an evaluation."""
        if not self.entries:
            return []
        asked = {name for _, name in self._queries}
        sides = {"query": asked, "gallery": {name for _, name in self._gallery}}
        empty = [side for side, names in sides.items() if not names]
        if empty:
            return [
                Finding(
                    "warning",
                    "empty-side",
                    f"The protocol {self.protocol.name} finds no {' and no '.join(empty)} in the test split.",
                    self.entries[0].name,
                    "give rows the role query or gallery (folders query/ and gallery/, or the manifest's "
                    "role column), or no roles at all: then every test row is both",
                    len(empty),
                )
            ]
        lost = self.unanswerable()
        if not lost:
            return []
        file = {e.name: e.file() for e in self.entries}
        return [
            Finding(
                "warning",
                "query-without-positive",
                f"{len(lost)} of {len(asked)} queries have no right answer in the gallery under the protocol "
                f"{self.protocol.name}: they are skipped and change no number.",
                lost[0],
                "add other captures of these identities to the gallery (of another camera or scene, where "
                "the protocol asks for one), or choose another evaluate.protocol",
                len(lost),
                tuple(file[name] for name in lost),
            )
        ]


def camera_matters(protocol: Protocol) -> bool:
    """Whether the protocol excludes matches from the query's own camera but not from others."""

    other = INFRARED[-1]  # a query of another band, as protocols across spectra ask

    def left_out(camera: int) -> bool:
        rows = [_probe("a", 0, other), _probe("b", camera, PHOTO)]
        asking, found = protocol.queries(rows, (other,)), protocol.gallery(rows, (PHOTO,))
        q, g = label_arrays_of(asking.items, found.items, rows)
        return bool(len(q) and len(g) and protocol.exclude(q, g).all())

    return left_out(0) and not left_out(1)


def _probe(name: str, camid: int, modality: Modality) -> SampleLabels:
    labels = Labels(name, "probe", "test", 0, camid=camid, location=name)
    return SampleLabels.of(Sample(labels, {modality: Image(b"", 0, 0)}))


def _slices(keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], slice]:
    """Where each run of equal keys lies in a sorted list."""
    found, start = {}, 0
    for key, run in groupby(keys):
        length = len(list(run))
        found[key] = slice(start, start + length)
        start += length
    return found
