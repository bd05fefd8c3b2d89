"""Ranked lists of a report: best, worst and random queries with what was found for them, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pipelines.embed import sample_groups
from reid.config import Config
from reid.data.batches.sample_rows import sample_part
from reid.data.images import thumbnail
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.evaluator import PairingScores
from reid.evaluate.metrics.ranking import top_ranked
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.report.results import RankedItem, RankedList
from reid.modality import Modality

THUMBNAIL = 160


class Pictures:
    """Encoded samples by id, read a row group at a time and kept."""

    def __init__(self, shards: ShardSet, splits: Sequence[str]) -> None:
        self.shards = shards
        self.where = sample_groups(shards, [group for split in splits for group in shards.groups(split)])
        self._kept: dict[str, Sample] = {}

    def sample(self, sample_id: str) -> Sample:
        """The full sample."""
        if sample_id not in self._kept:
            for sample in self.shards.read_group(self.where[sample_id]):
                self._kept[sample.labels.sample_id] = sample
        return self._kept[sample_id]

    def shown(self, sample_id: str, modality: Modality, caption: int | None) -> bytes | str:
        """A thumbnail or a sentence."""
        content = sample_part(self.sample(sample_id), modality, caption or 0).content
        return content if isinstance(content, str) else thumbnail(content, sample_id, THUMBNAIL)


def ranked_lists(
    config: Config,
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    scored: Sequence[PairingScores],
    pictures: Pictures,
) -> tuple[RankedList, ...]:
    """A third each: the best, the worst and seeded random queries, spread over the pairings.

    Of several galleries the first is shown. No query comes twice in a pairing while it has others.
    """
    settings = config.evaluate
    shown = [s for s in scored if s.metrics.queries]
    rng = np.random.default_rng(config.seed)
    orders = [_order(one, rng) for one in shown]
    taken: list[set[int]] = [set() for _ in shown]
    lists = []
    for kind, count in thirds(settings.queries_shown if shown else 0).items():
        for i in np.linspace(0, len(shown) - 1, count).round().astype(int).tolist():
            position = _pick(kind, orders[i], taken[i], rng)
            taken[i].add(position)
            found = _ranked_list(shown[i], position, protocol, labels, pictures, settings.ranks_shown)
            lists.append(replace(found, kind=kind, ap=float(shown[i].metrics.ap[position])))
    return tuple(lists)


def thirds(count: int) -> dict[str, int]:
    """How many of each kind are shown; what is left over goes to random queries, then to the best."""
    return {"best": (count + 1) // 3, "worst": count // 3, "random": (count + 2) // 3}


def _order(scored: PairingScores, rng: np.random.Generator) -> list[int]:
    """Queries that count, best average precision first; equal ones in seeded order."""
    usable = rng.permutation(torch.nonzero(scored.metrics.valid).flatten().numpy()).tolist()
    return sorted(usable, key=lambda i: -float(scored.metrics.ap[i]))


def _pick(kind: str, order: list[int], taken: set[int], rng: np.random.Generator) -> int:
    """A query's position: the best or worst that is left, or any of those left."""
    left = [i for i in order if i not in taken] or order
    if kind == "random":
        return int(rng.choice(left))
    return left[0] if kind == "best" else left[-1]


def _ranked_list(
    scored: PairingScores,
    position: int,
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    pictures: Pictures,
    length: int,
) -> RankedList:
    query, gallery = scored.queries.items[position], scored.first_gallery
    q_meta, g_meta = label_arrays_of([query], gallery, labels)
    drop = protocol.exclude(q_meta, g_meta)
    similarity = scored.compare(slice(position, position + 1))  # (1, G)
    order = [i for i in top_ranked(similarity, len(gallery), drop)[0].tolist() if i >= 0]
    right = (q_meta.pid[0] == g_meta.pid).tolist()
    results = []
    for i in order[:length]:
        item = gallery[i]
        modality = Modality.RGB if Modality.RGB in item.parts else next(iter(item.parts))
        part = item.parts[modality]
        results.append(
            RankedItem(
                shown=pictures.shown(part.sample_id, modality, part.caption_index),
                pid=item.pid,
                score=float(similarity[0, i]),
                right=right[i],
                camid=item.camid,
                item_id=item.item_id,
            )
        )
    return RankedList(
        query=tuple((m, pictures.shown(p.sample_id, m, p.caption_index)) for m, p in query.parts.items()),
        pid=query.pid,
        results=tuple(results),
        gallery=scored.pairing.gallery_name,
        camid=query.camid,
        query_id=query.query_id,
        first_hit=next((rank for rank, i in enumerate(order, 1) if right[i]), None),
    )
