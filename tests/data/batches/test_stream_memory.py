"""Streaming holds the reservoir and what is read ahead, however large the set is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reid.studies.benchmarks.stream import write_set

ROW_BYTES = 10_000
RESERVOIR = 500

# In a process of its own: memory that something else once needed would hide what a stream needs.
SCRIPT = """
import json, resource, sys
from reid.studies.benchmarks.stream import ShardSet, open_stream

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

stream = open_stream(ShardSet.open(sys.argv[1]), None, reservoir_rows=int(sys.argv[2]), prefetch_mib=2)
before, rows = peak(), 0
for batch in stream.rows_of(0, stream.natural_steps):
    rows += len(batch)
print(json.dumps([rows, peak() - before]))
"""


def streamed(root: Path, identities: int) -> tuple[int, int]:
    """(rows drawn, bytes of memory that it took) of an epoch over a new set of 8 captures an identity."""
    rng = np.random.default_rng(0)
    write_set(str(root), identities, 8, lambda _: rng.bytes(ROW_BYTES))
    command = [sys.executable, "-c", SCRIPT, str(root), str(RESERVOIR)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout
    rows, grown = json.loads(said)
    return int(rows), int(grown)


@pytest.mark.slow
def test_ten_times_the_set_takes_no_more_memory(tmp_path: Path) -> None:
    small, large = streamed(tmp_path / "1", 300), streamed(tmp_path / "10", 3000)
    assert large[0] > 9 * small[0] > 9 * 2000
    more = 9 * 300 * 8 * ROW_BYTES
    assert large[1] - small[1] < 0.2 * more, "the set itself would be 216 MB more"
    assert large[1] < 100 * 2**20, "5 MB of reservoir, 2 MiB ahead, and what Arrow keeps for reuse"
