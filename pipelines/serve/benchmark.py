"""The endpoint under load, against the same searches in a loop without HTTP."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import torch

from pipelines.serve.app import run as deploy
from pipelines.serve.app import stop
from pipelines.serve.load import Load, cpu_seconds, load, request_bytes
from reid.config import Config, override
from reid.config import load as load_config
from reid.data.images import encode_jpeg
from reid.data.synthetic.version2 import Version2Config, render
from reid.gallery.store import Gallery
from reid.modality import CAMERA
from reid.models.registry import build_model
from reid.retrieve.answers import NewItem, SearchQuery
from reid.retrieve.retriever import Retriever
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap
from reid.runs.run import load_run, model_context
from reid.studies.benchmarks.timing import BenchmarkRow

CLIENTS = (1, 8, 16, 32, 64)
BATCHES = (1, 8, 32)
ASKED = CAMERA[0]
ITEMS, QUERIES = 240, 64
OF_BARE = 0.75
"""With 64 clients, of the loop with batches of 8."""
CPU_MS = 4.0
"""CPU milliseconds a request may take in all processes, with 64 clients."""
IDLE_MS = 5.0
"""Milliseconds that HTTP may add to a search of one client."""


def serve_rows(
    start: Callable[[Config], None], seconds: float = 5.0, preset: str = "baseline/demo"
) -> Iterator[BenchmarkRow]:
    """Latency, throughput and CPU time at each number of clients; the loop without HTTP comes first.

    Args:
        start: starts Ray.
        seconds: of load for each number of clients.
        preset: the model, untrained; pictures are RGB of its size.
    """
    with tempfile.TemporaryDirectory(prefix="anyreid-bench-") as folder:
        config = _config(preset, folder)
        retriever, pictures = _filled(config, folder)
        bare = {size: _bare(retriever, pictures, size, seconds / 2) for size in BATCHES}
        for size, rate in bare.items():
            yield BenchmarkRow(f"loop without HTTP, batches of {size}", rate, "1/s")
        start(config)
        url = deploy(config, run_uri=retriever.run.uri, gallery_uri=retriever.gallery.uri, out=lambda _: None)
        try:
            yield from _loaded(f"{url}/v1/search", pictures, seconds, bare)
        finally:
            stop()


def _loaded(
    url: str, pictures: Sequence[bytes], seconds: float, bare: dict[int, float]
) -> Iterator[BenchmarkRow]:
    requests = [_request(url, picture) for picture in pictures]
    load(url, requests, 8, 1.0)
    rates: dict[int, float] = {}
    for clients in CLIENTS:
        before = cpu_seconds()
        found = load(url, requests, clients, seconds)
        spent = {name: used - before.get(name, 0.0) for name, used in cpu_seconds().items()}
        rates[clients] = found.per_second
        yield _latency(clients, found, bare)
        yield _throughput(clients, found.per_second, bare)
        yield from _cpu(clients, spent, len(found.milliseconds))
    many, some = rates[64], rates[16]
    yield BenchmarkRow("requests of 64 clients against those of 16", many, "1/s", some, many / some, 1.0)


def _latency(clients: int, found: Load, bare: dict[int, float]) -> BenchmarkRow:
    middle, most, worst = (found.percentile(share) for share in (50, 95, 99))
    name = f"{clients} clients: p50 (p95 {most:.1f}, p99 {worst:.1f})"
    if clients > 1:
        return BenchmarkRow(name, middle, "ms")
    allowed = 1e3 / bare[1] + IDLE_MS
    return BenchmarkRow(name, middle, "ms", allowed, allowed / middle, 1.0)


def _throughput(clients: int, rate: float, bare: dict[int, float]) -> BenchmarkRow:
    target = OF_BARE if clients == 64 else None
    return BenchmarkRow(f"{clients} clients: requests", rate, "1/s", bare[8], rate / bare[8], target)


def _cpu(clients: int, spent: dict[str, float], requests: int) -> Iterator[BenchmarkRow]:
    if not spent:
        yield BenchmarkRow(f"{clients} clients: CPU a request", skipped="no /proc to read it from")
        return
    each = {name: 1e3 * used / requests for name, used in spent.items()}
    parts = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(each.items()))
    total = sum(each.values())
    target = 1.0 if clients == 64 else None
    yield BenchmarkRow(
        f"{clients} clients: CPU a request ({parts})", total, "ms", CPU_MS, CPU_MS / total, target
    )


def _request(url: str, picture: bytes) -> bytes:
    made = httpx.Request("POST", url, files={ASKED.value: ("picture.jpg", picture, "image/jpeg")})
    return request_bytes(url, made.read(), made.headers["content-type"])


def _bare(retriever: Retriever, pictures: Sequence[bytes], size: int, seconds: float) -> float:
    """Searches a second in this process."""
    queries = [SearchQuery({ASKED: picture}) for picture in pictures]
    retriever.search_many(queries[:size])
    done, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        first = done % (len(queries) - size + 1)
        retriever.search_many(queries[first : first + size])
        done += size
    return done / (now - began)


def _config(preset: str, folder: str) -> Config:
    serving = {"serve.port": 0, "serve.requests_per_minute": 10_000_000, "serve.gpus_per_replica": 0}
    return override(load_config(preset), {"workdir": folder, "device": "cpu", **serving})


def _filled(config: Config, folder: str) -> tuple[Retriever, list[bytes]]:
    """An untrained model and a gallery of rendered people; pictures to ask with."""
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))  # as many as Ray gives a replica
    labels = LabelMap((("synthetic", 0), ("synthetic", 1)), (0, 1))
    model = build_model(config.model, model_context(config, labels))
    run = load_run(write_run(str(Path(folder, "run")), config, model, labels, {}, "not measured").uri, "cpu")
    rule = run.model.comparison_rule
    gallery = Gallery.create(
        str(Path(folder, "gallery")), run.model.dim, [ASKED.value], run.fingerprint, run.uri, rule=rule
    )
    retriever = Retriever(run, gallery)
    people = Version2Config(height=config.data.height, width=config.data.width)
    pictures = [
        encode_jpeg(
            render(people, number // 4, number % 4, number, (ASKED.value,))
            .pictures[ASKED.value]
            .astype("uint8")
        )
        for number in range(ITEMS)
    ]
    retriever.put([NewItem(f"item-{n}", {ASKED: picture}) for n, picture in enumerate(pictures)])
    retriever.warm()
    return retriever, pictures[:QUERIES]
