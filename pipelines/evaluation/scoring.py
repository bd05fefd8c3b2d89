"""Scores the queries of a large evaluation in actors: each ranks the gallery for some blocks of queries.

Labels are one object of Ray's store, which actors of a machine share; vectors are read by column from the
features of the run. What comes back are a few numbers a query. Small evaluations are scored in this process.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from pipelines.context import map_blocks
from pipelines.embed import actor_requests
from pipelines.progress import Progress, Say, say
from reid.config import RayConfig
from reid.errors import DataError
from reid.evaluate.evaluator import Measure
from reid.evaluate.features.store import FeatureSet
from reid.evaluate.features.table import FeatureRows
from reid.evaluate.metrics.comparing import Rows, rows_at_a_time
from reid.evaluate.metrics.group_scores import GroupScores
from reid.evaluate.metrics.retrieval import RetrievalMetrics, joined_metrics
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.trial import Trial

if TYPE_CHECKING:
    import ray

PAIRS = 2**30
"""Pairs of query and gallery item that one process ranks in some ten seconds; more are shared by actors."""
BLOCKS = 4
"""Blocks of queries for each actor: the last ones end together."""
COLUMNS = ("ap", "inp", "first_hit", "positives", "candidates", "listed")
Packed = tuple[npt.NDArray[Any], int]
PackedRows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]
"""Rows of the features, and where those of each vector begin, if some are made of several."""


def scorer(
    store: FeatureSet, actors: int, settings: RayConfig, out: Say = say, pairs: int = PAIRS
) -> Measure:
    """How the galleries of an evaluation are measured: by actors where that pays, else in this process.

    Args:
        store: the features that the evaluation's vectors are rows of.
        actors: processes that score; below 2 this one does.
        settings: how long to wait for them.
        out: takes the lines for the user.
        pairs: so many pairs of query and item, or more, are shared.
    """

    def measure(trial: Trial) -> Sequence[RetrievalMetrics]:
        work = len(trial.q_meta) * len(trial.g_meta)
        if actors < 2 or work < pairs or trial.reranking is not None:
            return trial.measured()
        asked = (trial.q, *(group.q for group in trial.groups))
        if not all(isinstance(rows, FeatureRows) for rows in (*asked, trial.g)):
            return trial.measured()
        return _shared(trial, store, actors, settings, out)

    return measure


@dataclass(frozen=True)
class TrialWork:
    """A trial as it travels: arrays instead of tensors, rows instead of vectors."""

    protocol: Protocol
    files: tuple[str, ...]  # of the features: what the rows count
    groups: tuple[tuple[GroupScores, PackedRows], ...]  # without vectors; rows of their queries
    q: PackedRows
    g: PackedRows
    q_meta: dict[str, Packed]
    g_meta: dict[str, Packed]
    without_source: bool


def packed_trial(trial: Trial) -> TrialWork:
    """A trial whose vectors are rows of features, without the vectors."""
    assert isinstance(trial.q, FeatureRows) and isinstance(trial.g, FeatureRows)
    return TrialWork(
        Protocol(trial.protocol.config),  # without a list of companions that it has read
        trial.g.table.files,
        tuple((replace(group, q=torch.zeros(0, 0)), _numbers(group.q)) for group in trial.groups),
        _numbers(trial.q),
        _numbers(trial.g),
        _packed(trial.q_meta),
        _packed(trial.g_meta),
        trial.without_source,
    )


def _numbers(rows: Rows) -> PackedRows:
    assert isinstance(rows, FeatureRows)
    return rows.rows, rows.starts


class ScoringActor:
    """Opens features and labels once; a call gets the start and stop of a block of queries in one row, and
    gives a row a query: COLUMNS, the number of the way to exclude, and the block's start."""

    def __init__(self, store: FeatureSet, work: ray.ObjectRef[TrialWork] | TrialWork) -> None:
        if not isinstance(work, TrialWork):
            import ray

            work = ray.get(work)
        table = store.read()
        if table.files != work.files:
            raise DataError(
                f"{store.uri}: another process has joined files of vectors meanwhile; evaluate again."
            )
        self.trial = Trial(
            work.protocol,
            FeatureRows(table, *work.q),
            FeatureRows(table, *work.g),
            _unpacked(work.q_meta),
            _unpacked(work.g_meta),
            work.without_source,
            groups=tuple(replace(group, q=FeatureRows(table, *rows)) for group, rows in work.groups),
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rank the gallery for a block of queries."""
        ((start, stop),) = zip(*(batch[name].to_pylist() for name in ("start", "stop")), strict=True)
        return pa.concat_tables(
            [
                _rows(metrics, way, start)
                for way, metrics in enumerate(self.trial.measured(slice(start, stop)))
            ]
        )


def _shared(
    trial: Trial, store: FeatureSet, actors: int, settings: RayConfig, out: Say
) -> list[RetrievalMetrics]:
    import ray
    import ray.data

    from pipelines.placement.waiting import wait_for, watched

    count = len(trial.q_meta)
    step = rows_at_a_time(len(trial.g_meta))
    size = step * max(1, -(-count // (step * actors * BLOCKS)))  # whole chunks: ranked as in one process
    starts = list(range(0, count, size))
    actors = min(actors, len(starts))
    requests = actor_requests("scoring actor", actors, 0, len(starts))
    wait_for("evaluate", requests, settings, out)
    work = ray.put(packed_trial(trial))
    blocks = [pa.table({"start": [i], "stop": [min(i + size, count)]}) for i in starts]
    dataset = map_blocks(
        ray.data.from_arrow(blocks),
        ScoringActor,
        fn_constructor_kwargs={"store": store, "work": work},
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )
    progress = Progress("evaluate", count, "queries", out=out, parallel=actors)
    found: dict[tuple[int, int], RetrievalMetrics] = {}
    with watched("evaluate", requests, settings, out, store=store.uri):
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            for way, start, metrics in _metrics(batch, trial.protocol.config.ranks):
                found[way, start] = metrics
                progress.add(len(metrics.ap) if not way else 0)
    ways = sorted({way for way, _ in found})
    return [joined_metrics([found[way, start] for start in starts]) for way in ways]


def _rows(metrics: RetrievalMetrics, way: int, start: int) -> pa.Table:
    columns = {name: getattr(metrics, name) for name in COLUMNS}
    count = len(metrics.ap)
    return pa.table(
        {
            "way": np.full(count, way),
            "start": np.full(count, start),
            **{n: np.full(count, -1) if c is None else c.numpy() for n, c in columns.items()},
        }
    )


def _metrics(batch: pa.Table, ranks: tuple[int, ...]) -> list[tuple[int, int, RetrievalMetrics]]:
    """The results in a batch, which holds those of whole blocks: (way, start, metrics)."""
    columns = {name: batch[name].to_numpy() for name in ("way", "start", *COLUMNS)}
    cuts = np.flatnonzero(np.diff(columns["way"]) | np.diff(columns["start"])) + 1
    found = []
    for rows in np.split(np.arange(batch.num_rows), cuts):
        mine = {name: torch.from_numpy(columns[name][rows]) for name in COLUMNS}
        listed = mine.pop("listed")
        metrics = RetrievalMetrics(**mine, ranks=ranks, listed=None if int(listed[0]) < 0 else listed)
        found.append((int(columns["way"][rows[0]]), int(columns["start"][rows[0]]), metrics))
    return found


def _packed(labels: LabelArrays) -> dict[str, Packed]:
    """Arrays that Ray shares without copies; of a constant column one number."""

    def packed(column: Tensor) -> Packed:
        return (column[:1] if column.stride(0) == 0 else column).numpy(), len(column)

    columns = {field.name: getattr(labels, field.name) for field in fields(labels)}
    return {name: packed(column) for name, column in columns.items() if column is not None}


def _unpacked(columns: dict[str, Packed]) -> LabelArrays:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arrays of Ray's store cannot be written to, and are not
        tensors = {name: (torch.from_numpy(array), count) for name, (array, count) in columns.items()}
    return LabelArrays(
        **{
            name: tensor if len(tensor) == count else tensor.expand(count, *tensor.shape[1:])
            for name, (tensor, count) in tensors.items()
        }
    )
