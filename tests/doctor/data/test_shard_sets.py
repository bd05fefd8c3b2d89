"""A built shard set is examined like a folder, and its own faults are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid import storage
from reid.data.images import encode_png
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet, publish
from reid.doctor.data.examination import examine
from reid.errors import DataError
from tests.support.sets.examined_samples import RGB
from tests.support.sets.healthy import by_code, pattern
from tests.support.sets.shards import make_sample, make_shards


def samples(split: str, first: int) -> list[Sample]:
    made = []
    for pid in (first, first + 1):
        for camera in (0, 1):
            sample = make_sample(pid, camera, (RGB,), split=split, camid=camera)
            data = encode_png(np.asarray(pattern(10 * pid + camera)))
            image = replace(sample.images[RGB], image=data, width=32, height=64)
            made.append(replace(sample, images={RGB: image}, content_hash=storage.sha256(data)))
    return made


def built(root: Path, **manifest: Any) -> ShardSet:
    return make_shards(root, [samples("train", 1), samples("test", 11)], rows_per_group=2, **manifest)


def test_a_built_set_is_recognised_and_may_be_trained_on(tmp_path: Path) -> None:
    report = examine(built(tmp_path).root)
    assert report.findings == []
    assert (report.layout, report.captures, report.looked_at) == ("shard set", 8, 8)
    assert report.counts["test"]["all"]["images"] == {"rgb": 4}
    assert report.next is not None
    assert report.next.startswith("python -m jobs.train") and f"data.shards={tmp_path}" in report.next


def test_a_built_set_keeps_the_preset_of_its_data_set(tmp_path: Path) -> None:
    report = examine(built(tmp_path, dataset="msvr310").root)
    assert report.protocol == "cross_scene"
    assert report.next is not None and "--preset baseline/msvr310" in report.next


def test_a_shard_file_that_is_gone_is_told_and_the_rest_examined(tmp_path: Path) -> None:
    built(tmp_path)
    (tmp_path / "data" / "s0.parquet").unlink()
    report = examine(str(tmp_path))
    assert by_code(report.findings) == {"shard-missing": 1, "empty-split": 1}
    assert not report.ok and report.captures == 4


@pytest.mark.parametrize("cut", [True, False])
def test_a_shard_file_that_changed_is_told(cut: bool, tmp_path: Path) -> None:
    built(tmp_path)
    file = tmp_path / "data" / "s1.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data[:-1] if cut else data)
    assert by_code(examine(str(tmp_path)).findings) == {"shard-damaged": 1, "empty-split": 1}


def test_rows_that_a_build_set_aside_are_told(tmp_path: Path) -> None:
    shards = built(tmp_path)
    rows = [{"sample_id": "x", "stage": "read", "reason": "a.jpg: empty file (0 bytes)."}]
    publish(
        shards.root, Manifest(**{**shards.manifest.model_dump(), "quarantine_rows": rows, "quarantined": 1})
    )
    (finding,) = examine(shards.root).findings
    assert (finding.code, finding.level, finding.count) == ("set-aside", "warning", 1)
    assert finding.example == "a.jpg: empty file (0 bytes)."


def test_faults_of_a_built_set_are_found(tmp_path: Path) -> None:
    train, test = samples("train", 1), samples("test", 11)
    test[2] = replace(test[2], images=test[0].images, content_hash=test[0].content_hash)  # 12 shows 11
    make_shards(tmp_path, [train, test])
    (finding,) = examine(str(tmp_path)).findings
    assert (finding.code, finding.example) == ("same-picture-two-identities", "p11-0 = p12-0")


def test_only_the_row_groups_of_the_sample_are_read(tmp_path: Path) -> None:
    from reid.doctor.data.source import ShardSource

    source = ShardSource(built(tmp_path))
    read = []
    read_group = source.shards.read_group
    source.shards.read_group = lambda group: read.append(group.index) or read_group(group)  # type: ignore
    loaded = dict(source.load([1, 6]))
    assert {i: s.labels.sample_id for i, s in loaded.items() if isinstance(s, Sample)} == {
        1: "p1-1",
        6: "p12-0",
    }
    assert read == [0, 1]


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    storage.write_json(str(tmp_path / "MANIFEST.json"), {"schema_version": "0"})
    with pytest.raises(DataError, match="schema version 0"):
        examine(str(tmp_path))
