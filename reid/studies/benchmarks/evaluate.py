"""The evaluator against the textbook's loop over queries, and the memory of large evaluations."""

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
from reid.studies.benchmarks.timing import BenchmarkRow, compare

SPEED = 6.0
"""Times as fast as the textbook, at the size of RGBNT100."""
EQUAL = 1e-6


def evaluate_rows(repeats: int) -> Iterator[BenchmarkRow]:
    """Times and differences of ranking given similarities, then peak memory of two large evaluations."""
    for name, queries, gallery, identities, target in (
        ("rank 1715 x 8575, 50 identities (RGBNT100)", 1715, 8575, 50, SPEED),
        ("rank 3803 x 301, 96 identities (SYSU-MM01)", 3803, 301, 96, None),
    ):
        case = Case(queries, gallery, identities)
        with _one_thread():  # NumPy's argsort has no more
            found = compare({"ours": case.ours, "textbook": case.textbook}, repeats, torch.device("cpu"))
        ours, base = found["ours"].seconds, found["textbook"].seconds
        yield BenchmarkRow(name, ours * 1e3, "ms", base * 1e3, base / ours, target)
        difference = max(abs(a - b) for a, b in zip(case.ours(), case.textbook(), strict=True))
        ratio = EQUAL / max(difference, 1e-12)
        yield BenchmarkRow("  largest difference of mAP, R1, mINP", difference, "", EQUAL, ratio, 1)
    for name, call, limit in (
        ("features 10000 x 100000 x 512", _features, 2048.0),
        ("re-ranking 10000 x 20000 x 512", _reranked, 4096.0),
    ):
        yield from _once(name, call, limit)


class Case:
    """Random similarities, higher for the same identity, with the same-camera rule as a mask."""

    def __init__(self, queries: int, gallery: int, identities: int, cameras: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        self.q_pid = torch.randint(identities, (queries,), generator=generator)
        self.g_pid = torch.randint(identities, (gallery,), generator=generator)
        q_cam = torch.randint(cameras, (queries,), generator=generator)
        g_cam = torch.randint(cameras, (gallery,), generator=generator)
        same = self.q_pid[:, None] == self.g_pid
        self.exclude = same & (q_cam[:, None] == g_cam)
        self.similarity = torch.randn(queries, gallery, generator=generator) + 1.5 * same

    def ours(self) -> tuple[float, float, float]:
        """mAP, R1 and mINP."""
        m = rank_metrics(self.similarity, self.q_pid, self.g_pid, self.exclude)
        return m.mAP, m.cmc_at(1), m.mINP

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
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    q, g = _random(10_000, 1), _random(100_000, 2)
    return evaluate_features(q, g, *_labels(q, g), get_protocol("cross_camera").exclude)


def _reranked() -> RetrievalMetrics:
    q, g = _random(10_000, 1), _random(20_000, 2)
    similarity = rerank(q, g, RerankConfig())
    return evaluate_features(q, g, *_labels(q, g), get_protocol("cross_camera").exclude, compare=similarity)


def _random(count: int, seed: int, dim: int = 512) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def _labels(q: Tensor, g: Tensor) -> tuple[LabelArrays, LabelArrays]:
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
