"""Similarities of positive and of negative pairs: the data that a calibration is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid.errors import DataError
from reid.evaluate.evaluator import Features, scored_groups, stack_features
from reid.evaluate.metrics.comparing import Compare, check_features, cosine
from reid.evaluate.metrics.group_scores import group_scores
from reid.evaluate.metrics.retrieval import Exclude
from reid.evaluate.protocols.items import SampleLabels, parts_key
from reid.evaluate.protocols.label_arrays import LabelArrays, label_arrays_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import subset_name

CHUNK = 256
"""Queries compared at a time."""
NEGATIVES = 500_000
"""Most negative pairs that are kept of one pairing: five times what FPR 1e-4 needs."""
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QueryScores:
    """For each of Q queries the best similarity among its own identity's items, and among all others'."""

    mate: Floats  # (Q,) NaN where the gallery has no item of the query's identity
    stranger: Floats  # (Q,) NaN where it has no other: what is found once the identity is removed
    identity: Codes  # (Q,) of the query
    items: int  # of the gallery


@dataclass(frozen=True, eq=False)
class PairScores:
    """P positive and N negative pairs. Codes of identities are common to both sides."""

    positive: Floats  # (P,) similarities of pairs of one identity
    identity: Codes  # (P,) that identity
    negative: Floats  # (N,) similarities of pairs of two identities
    query: Codes  # (N,) identity of the query
    gallery: Codes  # (N,) identity of the gallery item
    by_query: QueryScores | None = None

    def __post_init__(self) -> None:
        if len(self.positive) != len(self.identity):
            raise DataError(f"{len(self.positive)} positive pairs have {len(self.identity)} identity labels.")
        if not len(self.negative) == len(self.query) == len(self.gallery):
            labels = (len(self.query), len(self.gallery))
            raise DataError(f"{len(self.negative)} negative pairs have {labels} identity labels.")
        if not (np.isfinite(self.positive).all() and np.isfinite(self.negative).all()):
            raise DataError("A similarity is not finite; check the features.")

    @property
    def identities(self) -> int:
        """How many identities have a positive pair."""
        return len(np.unique(self.identity))


def pairing_scores(
    protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing, features: Features, seed: int = 0
) -> PairScores:
    """The pairs of a pairing that a protocol counts, without pairs of a capture with itself.

    `features` are looked up as in `evaluator.score_pairing`. Raises DataError for an empty side.
    """
    queries = protocol.queries(labels, pairing.query_used).items
    gallery = protocol.gallery(labels, pairing.gallery_used).items
    for items, subset in ((queries, pairing.query_used), (gallery, pairing.gallery_used)):
        if not items:
            raise DataError(f"no sample has {subset_name(subset)!r}")
    q_meta, g_meta = label_arrays_of(queries, gallery, labels)
    q, g = stack_features(queries, "query", features), stack_features(gallery, "gallery", features)
    groups = scored_groups(pairing, {pairing.query_used: q}, None)
    return pair_scores(
        q,
        g,
        q_meta,
        g_meta,
        protocol.exclude_sources,
        compare=group_scores(g, groups) if groups else None,
        keys=([parts_key(i.parts, "query") for i in queries], [parts_key(i.parts, "query") for i in gallery]),
        seed=seed,
    )


def pair_scores(
    q: Tensor,
    g: Tensor,
    q_meta: LabelArrays,
    g_meta: LabelArrays,
    exclude: Exclude | None = None,
    keys: tuple[Sequence[str], Sequence[str]] | None = None,
    negatives: int = NEGATIVES,
    seed: int = 0,
    chunk: int = CHUNK,
    compare: Compare | None = None,
) -> PairScores:
    """Scores of query features q (Q, D) and gallery features g (G, D), without excluded pairs.

    `compare` gives the scores of a slice of queries; None: cosines. If there are more negative pairs than
    `negatives`, about that many are sampled evenly from all. `keys` name the content of each query and item:
    if both (a, b) and (b, a) occur, one of them is left out. Memory grows with chunk x G. Raises DataError
    like `metrics.evaluate_features`.
    """
    check_features(q, len(q_meta), "query")
    check_features(g, len(g_meta), "gallery")
    if q.shape[1] != g.shape[1]:
        raise DataError(f"Query features have {q.shape[1]} columns and gallery features {g.shape[1]}.")
    again, twice = _Mirrored(keys), 0 if keys is None else _both_ways(*keys)
    rate = negatives / max(1, len(q) * len(g) - twice // 2)
    rng = np.random.default_rng(seed)
    compare = compare or cosine(q, g)
    found: dict[str, list[Tensor]] = {k: [] for k in ("pos", "pid", "neg", "asked", "shown", "mate", "other")}
    for start in range(0, len(q), chunk):
        rows = slice(start, start + chunk)
        block = compare(rows)  # (q, G)
        pid = q_meta.pid[rows]
        same = pid[:, None] == g_meta.pid[None, :]
        counts = torch.ones_like(same) if exclude is None else ~exclude(q_meta[rows], g_meta)
        found["mate"].append(_best(block, same & counts))
        found["other"].append(_best(block, ~same & counts))
        counts &= ~again(rows, block.shape)
        row, column = (same & counts).nonzero(as_tuple=True)
        found["pos"].append(block[row, column])
        found["pid"].append(pid[row])
        row, column = (~same & counts).nonzero(as_tuple=True)
        if rate < 1:
            kept = torch.from_numpy(rng.random(len(row)) < rate)
            row, column = row[kept], column[kept]
        found["neg"].append(block[row, column])
        found["asked"].append(pid[row])
        found["shown"].append(g_meta.pid[column])
    joined = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    return PairScores(
        positive=joined["pos"].astype(np.float64),
        identity=joined["pid"],
        negative=joined["neg"].astype(np.float64),
        query=joined["asked"],
        gallery=joined["shown"],
        by_query=QueryScores(
            joined["mate"].astype(np.float64), joined["other"].astype(np.float64), q_meta.pid.numpy(), len(g)
        ),
    )


class _Mirrored:
    """Finds pairs whose mirror image is already counted."""

    def __init__(self, keys: tuple[Sequence[str], Sequence[str]] | None) -> None:
        self._codes: tuple[Tensor, Tensor] | None = None
        if keys is not None:
            of = {key: i for i, key in enumerate(sorted({*keys[0], *keys[1]}))}
            q, g = (torch.tensor([of[key] for key in side], dtype=torch.int64) for side in keys)
            self._codes, self._q_too, self._g_too = (q, g), torch.isin(q, g), torch.isin(g, q)

    def __call__(self, rows: slice, shape: torch.Size) -> Tensor:
        """(q, G) bool."""
        if self._codes is None:
            return torch.zeros(shape, dtype=torch.bool)
        q, g = self._codes
        later = q[rows, None] > g[None, :]
        return later & self._q_too[rows, None] & self._g_too[None, :]


def _both_ways(q: Sequence[str], g: Sequence[str]) -> int:
    """How many ordered pairs have a mirror image, those of an item with itself left aside."""
    common = len(set(q) & set(g))
    return common * (common - 1)


def _best(block: Tensor, counts: Tensor) -> Tensor:
    """(q,) the highest similarity that counts; NaN where none does."""
    best = block.masked_fill(~counts, -torch.inf).amax(dim=1)
    return best.masked_fill(~counts.any(dim=1), torch.nan)
