"""Donors, resuming and cleaning on an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines.dataset.compact import compact
from pipelines.dataset.verify import verify
from reid import storage
from reid.config.addresses import shards_uri
from reid.data.shards.places import is_set
from reid.data.shards.shard_set import ShardSet
from reid.dataset.verify import discard_statistics
from reid.errors import DataError, StorageError
from reid.storage import retry
from reid.storage.retry import RETRY_ENV
from reid.storage.uploads import abort_uploads
from tests.support.s3 import Relay
from tests.support.sets.kills import dies
from tests.support.sets.photos import build_here, config, photos, rows_of

SIGMA = "build.generate.sketch.params={sigma: 3.0}"


def sums(shards: ShardSet) -> list[str]:
    return [shard.sha256 for shard in shards.manifest.shards]


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
    assert sums(second.shards) == sums(local)
    assert len(rows_of(ShardSet.open(second.shards.root), "train")) == 6
    assert build_here(config(root, tmp_path, *there)).cleaned == [stray]


@pytest.mark.slow
def test_a_server_that_goes_away_ends_a_build_with_one_error_and_the_next_run_finishes_it(
    bucket: str, relay: Relay, tmp_path: Path
) -> None:
    root = photos(tmp_path / "in")
    local = build_here(config(root, tmp_path)).shards
    there = config(root, tmp_path, "data.shards=null", f"workdir={bucket}/work", "build.clean_after_s=0")
    cut, unfinished, told = 0, 0, []
    while True:  # a little later each time: while listing, in a shard, in its statistics, in the manifest
        relay.cut_after(400 + 1800 * cut)
        try:
            built = build_here(there)
        except (StorageError, DataError) as error:
            told.append(str(error))
        else:
            relay.cut_after(1 << 60)
            break
        relay.restore()
        cut += 1
        if is_set(shards_uri(there)):  # the cut came while cleaning
            assert sums(ShardSet.open(shards_uri(there))) == sums(local)
        else:
            unfinished += 1
    assert unfinished >= 4 and all(bucket in text for text in told)
    relay.cut()
    with pytest.raises(StorageError, match=f"{bucket}.*AWS_ENDPOINT_URL"):
        built.shards.read_group(built.shards.groups("train")[0])
    relay.restore()
    assert sums(built.shards) == sums(local)
    assert rows_of(built.shards, "train") == rows_of(local, "train")


@pytest.mark.slow
def test_a_build_goes_on_when_a_server_that_went_away_is_back(
    bucket: str, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in")
    local = build_here(config(root, tmp_path)).shards
    monkeypatch.setenv(RETRY_ENV, "300")
    cuts: list[float] = []

    def pause(seconds: float) -> None:
        """Instead of waiting: the server is back, and goes away once more a little later than before."""
        cuts.append(seconds)
        relay.restore()
        relay.cut_after(1800 * len(cuts))

    monkeypatch.setattr(retry, "_pause", pause)
    relay.cut_after(400)
    there = config(root, tmp_path, "data.shards=null", f"workdir={bucket}/work")
    built = build_here(there)
    assert len(cuts) >= 4
    relay.restore()
    relay.cut_after(1 << 60)
    assert sums(built.shards) == sums(local)
    assert rows_of(built.shards, "train") == rows_of(local, "train")


def test_a_wrong_secret_is_one_error_that_keeps_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = config(photos(tmp_path / "in"), tmp_path, "data.shards=null", f"workdir={bucket}/work")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match=f"{bucket}.*AWS_SECRET_ACCESS_KEY") as caught:
        build_here(there)
    assert "not-the-secret" not in str(caught.value)


def test_a_set_on_s3_is_verified_repaired_and_compacted(bucket: str, tmp_path: Path) -> None:
    there = config(photos(tmp_path / "in"), tmp_path, "data.shards=null", f"workdir={bucket}/work")
    built = build_here(there).shards
    quiet: dict[str, Any] = {"parallel": False, "out": lambda _: None}
    assert verify(built, **quiet).sound
    storage.write_bytes(storage.join(built.root, "data", built.manifest.shards[0].file), b"damaged")
    found = verify(built, **quiet)
    assert found.damaged == [built.manifest.shards[0].key]
    discard_statistics(built, found.damaged)
    again = build_here(there)
    assert again.built == 1 and verify(again.shards, **quiet).sound
    small = compact(again.shards, f"{bucket}/compact", 1000, 64, **quiet)
    assert verify(small, **quiet).sound
    assert rows_of(small, "train") == rows_of(again.shards, "train")


def test_uploads_that_nobody_finished_are_ended_below_the_set_and_nowhere_else(
    bucket: str, tmp_path: Path
) -> None:
    there = config(photos(tmp_path / "in"), tmp_path, "data.shards=null", f"workdir={bucket}/work")
    built = build_here(there).shards
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    name, inside = bucket.removeprefix("s3://"), built.root.removeprefix(f"{bucket}/") + "/data/x.parquet"
    for key in (inside, "elsewhere/y.parquet"):
        begun = client.create_multipart_upload(Bucket=name, Key=key)
        client.upload_part(
            Bucket=name, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * (5 << 20)
        )
    assert abort_uploads(built.root, 3600) == [], "one that may still be running is left alone"
    assert abort_uploads(built.root, -60) == [f"{bucket}/{inside}"]
    left = client.list_multipart_uploads(Bucket=name).get("Uploads", [])
    assert [u["Key"] for u in left] == ["elsewhere/y.parquet"]
    client.abort_multipart_upload(Bucket=name, Key=left[0]["Key"], UploadId=left[0]["UploadId"])
    assert verify(built, parallel=False, out=lambda _: None).sound
    assert abort_uploads(str(tmp_path), 0) == []
