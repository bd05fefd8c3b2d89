"""The evaluator on a device: the CPU's numbers, and how much faster."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from reid.evaluate.metrics.retrieval import RetrievalMetrics, evaluate_features
from reid.evaluate.protocols.protocol import get_protocol
from reid.studies.benchmarks.evaluate import made_features, made_labels
from reid.studies.benchmarks.timing import BenchmarkRow, compare

EQUAL = 1e-4
"""Largest difference of mAP and R1: float32 similarities that differ in their last bit swap ranks."""
CPU = torch.device("cpu")


def evaluator_rows(queries: int, gallery: int, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Ranking `queries` x `gallery` vectors of 512 numbers under the rule of other cameras."""
    here = compare({"cpu": partial(_evaluate, queries, gallery, CPU)}, 1, CPU)["cpu"].seconds
    there = compare({"gpu": partial(_evaluate, queries, gallery, device)}, repeats, device)["gpu"].seconds
    name = f"evaluator {queries} x {gallery}"
    yield BenchmarkRow(name, there, "s", here, here / there)
    a, b = (_evaluate(queries, gallery, place) for place in (CPU, device))
    found = max(abs(a.mAP - b.mAP), abs(a.cmc_at(1) - b.cmc_at(1)))
    yield BenchmarkRow(f"{name}: difference to CPU", found, "", EQUAL, EQUAL / max(found, 1e-12), 1)


def _evaluate(queries: int, gallery: int, device: torch.device) -> RetrievalMetrics:
    q, g = made_features(queries, 1), made_features(gallery, 2)
    labels = made_labels(q, g)
    return evaluate_features(q.to(device), g.to(device), *labels, get_protocol("cross_camera").exclude)
