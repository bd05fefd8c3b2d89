"""Ranked lists of a report: best, worst and random queries with what was found for them, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from reid.config import Config
from reid.data.batches.sample_rows import sample_part
from reid.data.images import thumbnail
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.evaluator import PairingScores
from reid.evaluate.metrics.ranking import top_ranked
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.report.results import RankedItem, RankedList
from reid.modality import PHOTO, Modality

Ints = npt.NDArray[np.int64]
THUMBNAIL = 160


class Pictures:
    """Encoded samples by id, read a row group at a time; the last few row groups are kept."""

    def __init__(self, shards: ShardSet, splits: Sequence[str]) -> None:
        self.samples = GroupSamples(shards, splits)

    def sample(self, sample_id: str) -> Sample:
        """The full sample."""
        return self.samples.sample(sample_id)

    def shown(self, sample_id: str, modality: Modality, caption: int | None) -> bytes | str:
        """A thumbnail or a sentence."""
        content = sample_part(self.sample(sample_id), modality, caption or 0).content
        return content if isinstance(content, str) else thumbnail(content, sample_id, THUMBNAIL)


def ranked_lists(
    config: Config,
    protocol: Protocol,
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
            found = _ranked_list(shown[i], position, protocol, pictures, settings.ranks_shown)
            lists.append(replace(found, kind=kind, ap=float(shown[i].metrics.ap[position])))
    return tuple(lists)


def thirds(count: int) -> dict[str, int]:
    """How many of each kind are shown; what is left over goes to random queries, then to the best."""
    return {"best": (count + 1) // 3, "worst": count // 3, "random": (count + 2) // 3}


def _order(scored: PairingScores, rng: np.random.Generator) -> Ints:
    """Queries that count, best average precision first; equal ones in seeded order."""
    usable = rng.permutation(torch.nonzero(scored.metrics.valid).flatten().numpy())
    order: Ints = usable[np.argsort(-scored.metrics.ap.numpy()[usable], kind="stable")]
    return order


def _pick(kind: str, order: Ints, taken: set[int], rng: np.random.Generator) -> int:
    """A query's position: the best or worst that is left, or any of those left."""
    left = order[~np.isin(order, list(taken))]
    left = left if len(left) else order
    if kind == "random":
        return int(rng.choice(left))
    return int(left[0] if kind == "best" else left[-1])


def _ranked_list(
    scored: PairingScores,
    position: int,
    protocol: Protocol,
    pictures: Pictures,
    length: int,
) -> RankedList:
    query, gallery, trial = scored.queries.items[position], scored.first_gallery, scored.first
    rows = slice(position, position + 1)
    q_meta, g_meta = trial.q_meta[rows], trial.g_meta
    drop = protocol.exclude(q_meta, g_meta)
    similarity = trial.compare(rows)  # (1, G)
    order = top_ranked(similarity, len(gallery), drop)[0]
    order = order[order >= 0]
    right = q_meta.pid[0] == g_meta.pid
    hits = torch.nonzero(right[order]).flatten()
    results = []
    for i in order[:length].tolist():
        item = gallery[i]
        modality = PHOTO if PHOTO in item.parts else next(iter(item.parts))
        part = item.parts[modality]
        results.append(
            RankedItem(
                shown=pictures.shown(part.sample_id, modality, part.caption_index),
                pid=item.pid,
                score=float(similarity[0, i]),
                right=bool(right[i]),
                camid=item.camid,
                item_id=item.item_id,
            )
        )
    return RankedList(
        query=tuple((m, pictures.shown(p.sample_id, m, p.caption_index)) for m, p in query.listed),
        pid=query.pid,
        results=tuple(results),
        gallery=scored.pairing.gallery_name,
        camid=query.camid,
        query_id=query.query_id,
        first_hit=int(hits[0]) + 1 if len(hits) else None,
    )
