"""The evaluator against a compiled one, and the memory of large evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid.config import RerankConfig
from reid.evaluate.metrics.reranking import rerank
from reid.evaluate.metrics.retrieval import RetrievalMetrics, evaluate_features, rank_metrics
from reid.evaluate.protocols.label_arrays import UNKNOWN, LabelArrays
from reid.evaluate.protocols.protocol import get_protocol
from reid.studies.benchmarks.compiled import CompiledEvaluator, build
from reid.studies.benchmarks.label_memory import label_memory_rows
from reid.studies.benchmarks.timing import BenchmarkRow, compare

SPEED = 3.0
"""Times as fast as the compiled evaluator, at the size of RGBNT100 and with all threads."""
SMALL = 1.5
"""The same at the size of SYSU-MM01, whose rows are too short for several threads to gain much."""
EQUAL = 1e-6


def evaluate_rows(repeats: int) -> Iterator[BenchmarkRow]:
    """Times and differences of ranking given similarities, then peak memory of two large evaluations.

    The compiled evaluator has one thread, as the published ones have; ours is measured with one and with all.
    """
    built = build()
    for name, queries, gallery, identities, target in (
        ("rank 1715 x 8575, 50 identities (RGBNT100)", 1715, 8575, 50, SPEED),
        ("rank 3803 x 301, 96 identities (SYSU-MM01)", 3803, 301, 96, SMALL),
    ):
        case = Case(queries, gallery, identities)
        if isinstance(built, str):
            yield BenchmarkRow(f"{name}, compiled", skipped=built)
        else:
            yield from _against(case, built, name, target, repeats)
        difference = max(abs(a - b) for a, b in zip(case.ours(), case.textbook(), strict=True))
        yield _equal("  to the textbook: mAP, R1, mINP", difference)
    for name, call, limit in (
        ("features 10000 x 100000 x 512", _features, 2048.0),
        ("re-ranking 10000 x 20000 x 512", _reranked, 4096.0),
    ):
        yield from _once(name, call, limit)
    yield from label_memory_rows()


def _against(
    case: Case, built: CompiledEvaluator, name: str, target: float, repeats: int
) -> Iterator[BenchmarkRow]:
    def compiled() -> tuple[float, float, float]:
        return case.compiled(built)

    threads = torch.get_num_threads()
    for count in sorted({1, threads}):
        with _threads(count):
            found = compare({"ours": case.ours, "compiled": compiled}, repeats, torch.device("cpu"))
        ours, base = found["ours"].seconds, found["compiled"].seconds
        wanted = target if count == threads else None
        told = f"{name}, {count} thread{'s' if count > 1 else ''}"
        yield BenchmarkRow(told, ours * 1e3, "ms", base * 1e3, base / ours, wanted)
    difference = max(abs(a - b) for a, b in zip(case.ours(), compiled(), strict=True))
    yield _equal("  to the compiled one: mAP, R1, mINP", difference)


def _equal(name: str, difference: float) -> BenchmarkRow:
    return BenchmarkRow(name, difference, "", EQUAL, EQUAL / max(difference, 1e-12), 1)


class Case:
    """Random similarities, higher for the same identity, with the same-camera rule as a mask."""

    def __init__(self, queries: int, gallery: int, identities: int, cameras: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        self.q_pid = torch.randint(identities, (queries,), generator=generator)
        self.g_pid = torch.randint(identities, (gallery,), generator=generator)
        self.q_cam = torch.randint(cameras, (queries,), generator=generator)
        self.g_cam = torch.randint(cameras, (gallery,), generator=generator)
        same = self.q_pid[:, None] == self.g_pid
        self.exclude = same & (self.q_cam[:, None] == self.g_cam)
        self.similarity = torch.randn(queries, gallery, generator=generator) + 1.5 * same

    def ours(self) -> tuple[float, float, float]:
        """mAP, R1 and mINP."""
        m = rank_metrics(self.similarity, self.q_pid, self.g_pid, self.exclude)
        return m.mAP, m.cmc_at(1), m.mINP

    def compiled(self, evaluator: CompiledEvaluator) -> tuple[float, float, float]:
        """The same by a compiled evaluator, which gets labels instead of a mask."""
        sides = (self.q_pid.numpy(), self.q_cam.numpy()), (self.g_pid.numpy(), self.g_cam.numpy())
        return evaluator(self.similarity.numpy(), *sides)

    def textbook(self) -> tuple[float, float, float]:
        """The same by sorting for one query after the other, as the data sets' evaluators do."""
        q_pid, g_pid, exclude = self.q_pid.numpy(), self.g_pid.numpy(), self.exclude.numpy()
        distance = -self.similarity.numpy()
        aps: list[float] = []
        firsts: list[float] = []
        inps: list[float] = []
        for i in range(len(q_pid)):
            order = np.argsort(distance[i], kind="stable")
            order = order[~exclude[i][order]]
            match: npt.NDArray[np.bool_] = g_pid[order] == q_pid[i]
            if not match.any():
                continue
            hits = match.cumsum()
            precision = hits / np.arange(1, len(match) + 1)
            aps.append(float((precision * match).sum() / hits[-1]))
            firsts.append(float(match[0]))
            inps.append(float(hits[-1] / (np.flatnonzero(match)[-1] + 1)))
        return float(np.mean(aps)), float(np.mean(firsts)), float(np.mean(inps))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def _once(name: str, call: Callable[[], object], limit: float) -> Iterator[BenchmarkRow]:
    """Peak memory above what was held, features included, and the time of a single call."""
    seconds = 0.0

    def timed() -> None:
        nonlocal seconds
        began = time.perf_counter()
        call()
        seconds = time.perf_counter() - began

    peak = compare({name: timed}, 0, torch.device("cpu"))[name].peak_mib
    yield BenchmarkRow(f"{name}: peak", peak, "MiB", limit, limit / max(peak, 1), 1)
    yield BenchmarkRow(f"{name}: time", seconds, "s")


def _features() -> RetrievalMetrics:
    q, g = made_features(10_000, 1), made_features(100_000, 2)
    return evaluate_features(q, g, *made_labels(q, g), get_protocol("cross_camera").exclude)


def _reranked() -> RetrievalMetrics:
    q, g = made_features(10_000, 1), made_features(20_000, 2)
    similarity = rerank(q, g, RerankConfig())
    return evaluate_features(
        q, g, *made_labels(q, g), get_protocol("cross_camera").exclude, compare=similarity
    )


def made_features(count: int, seed: int, dim: int = 512) -> Tensor:
    """Random vectors (count, dim); equal for equal seeds."""
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def made_labels(q: Tensor, g: Tensor) -> tuple[LabelArrays, LabelArrays]:
    """1000 identities in 15 cameras; every row is a sample of its own."""
    rows = torch.arange(len(q) + len(g))
    unknown = torch.full_like(rows, UNKNOWN)
    none = unknown[:, None]
    every = LabelArrays(
        pid=rows % 1000,
        camid=rows % 15,
        viewid=unknown,
        location=unknown,
        modalities=torch.ones_like(rows),
        samples=rows[:, None],
        contents=none,
        sources=none[:, :0],
        source_cameras=none[:, :0],
    )
    return every[: len(q)], every[len(q) :]
