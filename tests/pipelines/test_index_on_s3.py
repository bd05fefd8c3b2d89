"""An index that is killed while it writes a gallery to S3: the gallery is whole or absent, and grows on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.index import index_run
from reid import storage
from reid.gallery.places import NOTE
from reid.gallery.store import Gallery, storage_options
from reid.runs.run import Run
from tests.support.places import ROOT
from tests.support.s3 import Relay
from tests.support.tiny_configs import config_of, silent

CHUNK, ITEMS = 3, 16
INDEX = """
import sys
import pipelines.index as index
from reid.runs.run import load_run
from tests.support.tiny_configs import config_of, silent
index.CHUNK = int(sys.argv[1])
index.index_run(config_of(*sys.argv[3:]), load_run(sys.argv[2]), silent)
"""


class Index:
    """Indexes into galleries of a bucket, in processes of their own."""

    def __init__(self, run: Run, workdir: Path, relay: Relay) -> None:
        self._run, self._workdir, self._relay = run, workdir, relay

    def of(self, gallery: str) -> tuple[str, ...]:
        return str(self._workdir), f"index.gallery={gallery}", "index.subsets=[rgb]"

    def here(self, gallery: str) -> Gallery:
        """To its end, in this process."""
        return index_run(config_of(*self.of(gallery)), self._run, silent).gallery

    def apart(self, gallery: str, killed_after: int | None = None) -> int:
        """In another process, which is killed once it has sent so many bytes; how many it sent."""
        before = self._relay.sent
        command = [sys.executable, "-c", INDEX, str(CHUNK), self._run.uri, *self.of(gallery)]
        with subprocess.Popen(command, cwd=ROOT) as child:
            if killed_after is not None:
                self._relay.cut_after(killed_after, child.kill)
        self._relay.restore()
        assert child.returncode in ((0,) if killed_after is None else (0, -signal.SIGKILL))
        return self._relay.sent - before


def rows_of(gallery: str) -> pa.Table:
    import lance

    place = storage.join(gallery, "rows.lance")
    return lance.dataset(place, storage_options=storage_options(gallery)).to_table().sort_by("id")


@pytest.mark.slow
def test_a_gallery_on_s3_is_whole_or_absent_wherever_its_writer_was_killed(
    any_run: Run, workdir: Path, bucket: str, relay: Relay
) -> None:
    index = Index(any_run, workdir, relay)
    calm = f"{bucket}/calm"
    index.here(f"{bucket}/first")  # also embeds; after it an index only writes
    size = index.apart(calm)
    expected = rows_of(calm)
    assert expected.num_rows == ITEMS
    absent, partial = 0, 0
    for share in (0.02, 0.3, 0.6, 0.9):
        gallery = f"{bucket}/killed-{share}"
        index.apart(gallery, killed_after=int(share * size))
        if storage.exists(storage.join(gallery, NOTE)):
            found = rows_of(gallery)
            assert found.num_rows % CHUNK == 0, "each addition is there as a whole or not at all"
            assert found.filter(pa.compute.is_in(found["id"], expected["id"])).num_rows == found.num_rows
            partial += 0 < found.num_rows < ITEMS
        else:
            absent += 1
        index.apart(gallery, killed_after=int(0.3 * size))
        index.here(gallery)
        assert rows_of(gallery).equals(expected)
    assert absent and partial
