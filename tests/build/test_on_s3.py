"""Donors, resuming and cleaning on an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid import storage
from reid.data.shards import ShardSet
from tests.build.photos import build_here, config, photos, rows_of
from tests.build.test_kill import dies

SIGMA = "build.generate.sketch.params={sigma: 3.0}"


def test_sets_on_s3_give_rows_to_each_other_and_resume(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in")
    local = build_here(config(root, tmp_path, SIGMA)).shards
    there = ["data.shards=null", f"workdir={bucket}/work", "build.clean_after_s=0"]
    first = build_here(config(root, tmp_path, *there))
    assert first.shards.root.startswith(f"{bucket}/work/shards/photos/")
    assert dies(config(root, tmp_path, *there, SIGMA), monkeypatch, 4, "before") is None
    stray = storage.join(first.shards.root, "data", "aaaaaaaaaaaa-bbbbbbbbbbbb.parquet")
    storage.write_bytes(stray, b"half")
    second = build_here(config(root, tmp_path, *there, SIGMA))
    assert (second.built, second.reused) == (3, 1)
    assert second.refreshed["kept"] == {"read": 3} and second.shards.root != first.shards.root
    assert [s.sha256 for s in second.shards.manifest.shards] == [s.sha256 for s in local.manifest.shards]
    assert len(rows_of(ShardSet.open(second.shards.root), "train")) == 6
    assert build_here(config(root, tmp_path, *there)).cleaned == [stray]
