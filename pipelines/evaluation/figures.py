"""What a report's figures show: similarity histograms, a projection, and where experts' patches lie."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipelines.evaluation.ranked_lists import Pictures
from reid.config import Config
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.sample_rows import sample_part
from reid.evaluate.evaluator import PairingScores
from reid.evaluate.protocols.items import ProtocolQuery
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.report.projection import Projection, project
from reid.evaluate.report.results import SubsetResult
from reid.evaluate.report.routing_map import RoutingMap
from reid.evaluate.report.similarity_histograms import Similarities, similarities
from reid.runs.run import Run

ROUTED = 6
"""Pictures whose routing is drawn."""


def all_similarities(
    protocol: Protocol, scored: Sequence[PairingScores], rows: Sequence[SubsetResult]
) -> tuple[Similarities, ...]:
    """One histogram a pairing."""
    return tuple(similarities(protocol, s, r.label) for s, r in zip(scored, rows, strict=True))


def best_projection(
    scored: Sequence[PairingScores], rows: Sequence[SubsetResult], seed: int
) -> Projection | None:
    """Vectors of the pairing with the highest mAP; None if no query counts."""
    counted = [i for i, one in enumerate(scored) if one.metrics.queries]
    if not counted:
        return None
    best = max(counted, key=lambda i: scored[i].metrics.mAP)
    shown, trial = scored[best], scored[best].first
    pids = shown.queries.items.pids, shown.first_gallery.pids
    return project(trial.q, trial.g, *pids, label=rows[best].label, seed=seed)


def routing_maps(
    config: Config, run: Run, scored: Sequence[PairingScores], pictures: Pictures
) -> tuple[RoutingMap, ...]:
    """The experts that the patches of up to ROUTED query pictures go to; none for models without experts.

    Pictures are of seeded random queries of the pairing with most modalities.
    """
    shown = [s for s in scored if s.metrics.queries]
    if not shown or not config.evaluate.queries_shown:
        return ()
    most = max(shown, key=lambda s: len(s.pairing.query_used))
    usable = torch.nonzero(most.metrics.valid).flatten()
    order = torch.randperm(len(usable), generator=torch.Generator().manual_seed(config.seed))
    wanted = max(2, -(-ROUTED // len(most.pairing.query_used)))  # a single row has other rules in some models
    queries = [most.queries.items[i] for i in usable[order[:wanted]].tolist()]
    batch = run.collator([_row(query, pictures) for query in queries]).to(run.device)
    routed = run.model.routing(batch)
    found: list[RoutingMap] = []
    for i, query in enumerate(queries):
        for modality, part in query.parts.items():
            maps = [(n, m) for n, m in routed.items() if n.rpartition("/")[2] == modality.value]
            for name, one in maps:
                found.append(
                    RoutingMap(
                        mixture=name.rpartition("/")[0],
                        modality=modality,
                        picture=_bytes(pictures.shown(part.sample_id, modality, part.caption_index)),
                        pid=query.pid,
                        rows=one.experts.shape[1],
                        columns=one.experts.shape[2],
                        experts=tuple(one.experts[i].flatten().tolist()),
                        count=one.count,
                    )
                )
    names = list(dict.fromkeys((m.pid, m.picture) for m in found))[:ROUTED]
    return tuple(m for m in found if (m.pid, m.picture) in names)


def _row(query: ProtocolQuery, pictures: Pictures) -> BatchRow:
    parts = {m: (pictures.sample(p.sample_id), p.caption_index or 0) for m, p in query.parts.items()}
    return BatchRow({m: sample_part(sample, m, caption) for m, (sample, caption) in parts.items()})


def _bytes(shown: bytes | str) -> bytes:
    return shown if isinstance(shown, bytes) else b""
