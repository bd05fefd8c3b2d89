"""The memory of an evaluation of many captures: of the process that reads labels, and of one that scores.

Each step is a process of its own, so that its peak is nothing else's. Labels are synthetic tables as shards
hold them; vectors lie in a file that is mapped.

```
python -m reid.studies.benchmarks.label_memory labels 10000000
```
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from reid.evaluate.features.table import FeatureRows, FeatureTable
from reid.evaluate.protocols.label_arrays import UNKNOWN, LabelArrays, label_arrays_of
from reid.evaluate.protocols.label_columns import LabelColumns
from reid.evaluate.protocols.protocol import get_protocol
from reid.evaluate.trial import Trial
from reid.modality import Modality
from reid.studies.benchmarks.manifest import peak_mib
from reid.studies.benchmarks.timing import BenchmarkRow

CAPTURES = 10_000_000
LIMIT = 4096.0
"""MiB that no process may need."""
EACH = 20
"""Captures of an identity."""
CHUNK = 2**18
QUERIES = 16
DIM = 16


def label_memory_rows(captures: int = CAPTURES) -> Iterator[BenchmarkRow]:
    """Peak memory of both processes, and what it is a capture."""
    for name, step in (("labels of a driver", "labels"), ("a scorer", "scores")):
        command = [sys.executable, "-m", __name__, step, str(captures)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        told = f"{name}, {captures:.0e} captures"
        yield BenchmarkRow(f"{told}: peak", found["mib"], "MiB", LIMIT, LIMIT / found["mib"], 1)
        yield BenchmarkRow("  more a capture", (found["mib"] - found["before"]) * 2**20 / captures, "bytes")
        yield BenchmarkRow("  time", found["seconds"], "s")


def synthetic_labels(captures: int) -> Iterator[pa.Table]:
    """Tables of RGB captures in 16 cameras; one in a thousand is a query."""
    for start in range(0, captures, CHUNK):
        number = np.arange(start, min(start + CHUNK, captures))
        text = pc.utf8_lpad(pa.array(number).cast(pa.string()), 12, "0")
        roles = pa.array([["gallery"], ["query", "gallery"]]).take(pa.array((number % 1000 == 0).astype(int)))
        size = len(number)
        yield pa.table(
            {
                "sample_id": pc.binary_join_element_wise("cam/", text, ""),
                "dataset": pa.repeat("synthetic", size),
                "split": pa.repeat("test", size),
                "pid": number // EACH,
                "roles": roles,
                "camid": pa.array(number % 16, pa.int32()),
                "content_hash": pc.binary_join_element_wise(text, text, "-"),
                "rgb": pa.StructArray.from_arrays(
                    [pa.repeat("captured", size), pa.nulls(size, pa.string())], ["origin", "source_id"]
                ),
            }
        )


def _labels(captures: int) -> None:
    columns = LabelColumns()
    for table in synthetic_labels(captures):
        columns.add(table)
    labels = columns.table()
    protocol = get_protocol("cross_camera")
    queries, gallery = protocol.queries(labels, [Modality.RGB]), protocol.gallery(labels, [Modality.RGB])
    q, g = label_arrays_of(queries.items, gallery.items, labels)
    assert len(g) == captures and bool((q[:8].pid[:, None] == g.pid).any())


def _scores(captures: int) -> None:
    with tempfile.TemporaryFile() as file:
        vectors = np.memmap(file, np.float32, "w+", shape=(captures, DIM))
    draw = np.random.default_rng(0)
    for start in range(0, captures, CHUNK):
        part = vectors[start : start + CHUNK]
        part[:] = draw.standard_normal(part.shape, np.float32)
    keys = draw.integers(0, 2**63, (captures, 2), np.int64).view(np.uint64)
    table = FeatureTable([(keys, vectors)])
    del keys
    rows = torch.arange(captures, dtype=torch.int32)
    unknown = torch.tensor([UNKNOWN], dtype=torch.int32).expand(captures)
    labels = LabelArrays(
        pid=rows // EACH,
        camid=rows % 16,
        viewid=unknown,
        location=unknown,
        modalities=torch.ones(1, dtype=torch.int64).expand(captures),
        samples=rows[:, None],
        contents=rows[:, None].long(),
        sources=torch.zeros(captures, 0, dtype=torch.int64),
        source_cameras=torch.zeros(captures, 0, dtype=torch.int64),
    )
    of = FeatureRows(table, np.arange(captures))
    trial = Trial(get_protocol("cross_camera"), of[:QUERIES], of, labels[:QUERIES], labels)
    assert trial.measured()[0].queries == QUERIES


STEPS = {"labels": _labels, "scores": _scores}

if __name__ == "__main__":
    held, began = peak_mib(), time.perf_counter()
    STEPS[sys.argv[1]](int(sys.argv[2]))
    status = Path("/proc/self/status").read_text() if Path("/proc/self/status").exists() else ""
    parts = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Rss")}
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "mib": peak_mib(), "before": held, "end": parts}) + "\n")
