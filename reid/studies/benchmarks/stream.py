"""Streamed batches against an in-memory sampler over the same pictures, and what a row group's size costs."""

from __future__ import annotations

import io
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image as PILImage

from reid import storage
from reid.config import BatchConfig, DataConfig
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.collate import Collator, PixelCache
from reid.data.batches.sample_rows import Pick, row_of_sample
from reid.data.batches.stream import BatchStream, StreamPlace, row_columns
from reid.data.shards import schema
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import SCHEMA_VERSION, Image, Labels, Sample
from reid.data.shards.shard_set import Identity, ShardSet, publish, write_shard
from reid.modality import Modality
from reid.studies.benchmarks.timing import BenchmarkRow, compare

RGB = Modality.RGB
HEIGHT, WIDTH = 256, 128
P, K = 16, 4
GROUP_SIZES = (16, 32, 64, 128, 256, 512)
TARGET = 0.8
"""Streaming with decoding against the in-memory sampler with decoding, in CPU time: both on one thread."""
CPU = torch.device("cpu")


def stream_rows(repeats: int, identities: int = 256, captures: int = 8) -> Iterator[BenchmarkRow]:
    """Rows per second of ways to make batches; ratios are to the in-memory sampler."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = [picture_of(seed) for seed in range(identities * captures)]
        shards = write_set(f"{folder}/set", identities, captures, pictures.__getitem__)
        yield from _batches(shards, repeats)
        yield from _reading(shards, repeats)
        for rows in GROUP_SIZES:
            sized = write_set(f"{folder}/{rows}", identities, captures, pictures.__getitem__, rows)
            yield from _random_access(sized, rows, repeats)


def write_set(
    root: str,
    identities: int,
    captures: int,
    picture: Callable[[int], bytes],
    rows_per_group: int = 64,
    rows_per_shard: int = 1024,
) -> ShardSet:
    """A published set of identities whose row i has encoded picture i."""
    each = max(1, rows_per_shard // captures)
    written = []
    for start in range(0, identities, each):
        samples = [
            Sample(
                Labels(f"{pid}-{n}", "made", "train", pid, camid=n % 4),
                {RGB: Image(picture(pid * captures + n), WIDTH, HEIGHT)},
            )
            for pid in range(start, min(start + each, identities))
            for n in range(captures)
        ]
        key = f"s{start}"
        uri = storage.join(root, "data", f"{key}.parquet")
        written.append(write_shard(samples, uri, key, rows_per_group, []))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        dataset="made",
        fingerprint="made",
        source="made",
        generators={},
        shards=written,
        counts={},
        quarantined=0,
    )
    publish(root, manifest)
    return ShardSet.open(root)


def picture_of(seed: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Smooth noise as a JPEG of about 10 kB, like the crop of a person."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    stream = io.BytesIO()
    PILImage.fromarray(coarse).resize((width, height)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _collator(cache: PixelCache | None) -> Collator:
    reader = {"name": "folder", "path": "unused"}
    data = DataConfig.model_validate(
        {"name": "made", "reader": reader, "modalities": ("rgb",), "height": HEIGHT, "width": WIDTH}
    )
    return Collator(data, cache=cache)


def open_stream(shards: ShardSet, cache: PixelCache | None, **batch: int) -> BatchStream:
    """P x K batches of a set made here."""
    labels = {identity: i for i, identity in enumerate(shards.identities("train"))}
    config = BatchConfig(**{"identities": P, "instances": K, **batch})
    return BatchStream(shards, labels, (RGB,), config, _collator(cache), StreamPlace(0))


def in_memory(shards: ShardSet) -> Callable[[int], Iterator[list[BatchRow]]]:
    """The classical sampler over a list of all samples: batches of rows, epoch after epoch."""
    held: dict[Identity, list[Sample]] = defaultdict(list)
    for group in shards.groups("train"):
        for sample in shards.read_group(group):
            held[sample.identity].append(sample)
    labels = {identity: i for i, identity in enumerate(sorted(held))}

    source, rng = random.Random(0), np.random.default_rng(0)

    def epoch() -> Iterator[list[BatchRow]]:
        left: dict[Identity, list[list[Sample]]] = {}
        for identity, samples in held.items():
            order = list(samples)
            source.shuffle(order)
            left[identity] = [order[i : i + K] for i in range(0, len(order) - K + 1, K)]
        while len(left) >= P:
            rows = []
            for identity in source.sample(list(left), P):
                for sample in left[identity].pop():
                    rows.append(row_of_sample(Pick(sample, [sample], (RGB,)), labels[identity], 0, rng))
                if not left[identity]:
                    del left[identity]
            yield rows

    return lambda steps: islice((rows for _ in count() for rows in epoch()), steps)


def _batches(shards: ShardSet, repeats: int) -> Iterator[BenchmarkRow]:
    plain = in_memory(shards)
    warm, cold = _collator(PixelCache(2**33)), _collator(None)
    total = shards.rows("train")
    fits = open_stream(shards, warm.cache)
    tenth = open_stream(shards, warm.cache, reservoir_rows=total // 10)
    uncached = open_stream(shards, None, reservoir_rows=total // 10)
    steps = fits.natural_steps

    def drawn(stream: BatchStream) -> None:
        for _ in stream.rows_of(0, steps):
            pass

    def made(stream: BatchStream) -> None:
        for _ in stream.epoch(0, steps):
            pass

    def plainly(collator: Collator | None) -> None:
        for rows in plain(steps):
            if collator is not None:
                collator(rows)

    contests: dict[str, dict[str, Callable[[], None]]] = {
        "rows drawn": {
            "in memory": partial(plainly, None),
            "set in the reservoir": partial(drawn, fits),
            "reservoir of a tenth": partial(drawn, tenth),
        },
        "batches, pictures cached": {
            "in memory": partial(plainly, warm),
            "set in the reservoir": partial(made, fits),
            "reservoir of a tenth": partial(made, tenth),
        },
        "batches, pictures decoded": {
            "in memory": partial(plainly, cold),
            "reservoir of a tenth": partial(made, uncached),
        },
    }
    for label, competitors in contests.items():
        found = compare(competitors, repeats, CPU)
        rows, base = steps * P * K, found["in memory"]
        for name, measured in found.items():
            ratio = base.seconds / measured.seconds
            yield BenchmarkRow(
                f"{label}: {name}", rows / measured.seconds, "rows/s", rows / base.seconds, ratio
            )
            if name != "in memory":
                aimed = label.endswith("decoded")
                cost, against = (m.cpu_seconds / rows * 1e6 for m in (measured, base))
                target = TARGET if aimed else None
                yield BenchmarkRow(f"{label}: {name}", cost, "CPU us", against, against / cost, target)


def _reading(shards: ShardSet, repeats: int) -> Iterator[BenchmarkRow]:
    """Row groups read in order, and how long a resumed epoch takes to reach its last step."""
    groups, columns = shards.groups("train"), row_columns((RGB,))
    stream = open_stream(shards, None, reservoir_rows=shards.rows("train") // 10)
    steps = stream.natural_steps

    def read() -> None:
        for group in groups:
            shards.read_group(group, columns)

    found = compare(
        {
            "read": read,
            "whole": lambda: list(stream.rows_of(0, steps - 1)),
            "resumed": lambda: list(stream.rows_of(0, steps - 1, steps - 2)),
        },
        repeats,
        CPU,
    )
    mib = int(shards.stored.numbers("bytes").sum()) / 2**20
    yield BenchmarkRow("row groups read", shards.rows("train") / found["read"].seconds, "rows/s")
    yield BenchmarkRow("row groups read", mib / found["read"].seconds, "MiB/s")
    whole, resumed = found["whole"].seconds, found["resumed"].seconds
    yield BenchmarkRow("last step of a resumed epoch", resumed * 1e3, "ms", whole * 1e3, whole / resumed)


def _random_access(shards: ShardSet, rows: int, repeats: int) -> Iterator[BenchmarkRow]:
    """All row groups in random order; the ratio is to the whole files read at once."""
    groups, columns = list(shards.groups("train")), row_columns((RGB,))
    random.Random(0).shuffle(groups)

    def read() -> None:
        for group in groups:
            shards.read_group(group, columns)

    def whole() -> None:
        for file in shards.files("train"):
            schema.decode(pq.read_table(file, columns=columns))

    found = compare({"read": read, "whole": whole}, repeats, CPU)
    total = shards.rows("train")
    name = f"row groups of {rows} in random order"
    rate, base = total / found["read"].seconds, total / found["whole"].seconds
    yield BenchmarkRow(name, rate, "rows/s", base, rate / base)
    yield BenchmarkRow(name, found["read"].seconds / len(groups) * 1e3, "ms/group")
    size = int(shards.stored.numbers("bytes").sum())
    yield BenchmarkRow(name, size / total, "B/row")
