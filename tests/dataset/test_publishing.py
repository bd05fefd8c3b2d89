"""What a set tells about how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reid import storage
from reid.data.shards.manifest import MANIFEST, QUARANTINE, Shard
from reid.data.shards.manifest_files import ManifestFile, damaged_tables
from reid.data.shards.shard_set import ShardSet
from tests.support.sets.photos import build_here, config, photos


def test_stages_are_timed_in_every_shard_and_summed_in_the_manifest(tmp_path: Path) -> None:
    result = build_here(config(photos(tmp_path / "in"), tmp_path))
    manifest = result.shards.manifest
    shards = [Shard.model_validate_json(path.read_text()) for path in (tmp_path / "set/data").glob("*.json")]
    for shard in (made for made in shards if made.rows):
        assert set(shard.seconds) == set(shard.worked) == {"read", "decode", "sketch", "write"}
        assert all(seconds > 0 for seconds in shard.seconds.values())
    assert manifest.worked == {"read": 14, "decode": 9, "sketch": 9, "write": 14}
    assert manifest.seconds["sketch"] == pytest.approx(
        sum(s.seconds.get("sketch", 0) for s in shards), abs=2e-3
    )
    assert set(result.throughput) == {"read", "decode", "sketch", "write"}
    assert result.lines()[0].startswith("rows/s a worker: read ")


def test_the_lineage_names_reader_generators_code_and_versions(tmp_path: Path) -> None:
    settings = config(photos(tmp_path / "in", bad=False), tmp_path)
    manifest = build_here(settings).shards.manifest
    lineage = manifest.lineage
    assert lineage["reader"]["name"] == "folder" and lineage["reader"]["code"]
    assert lineage["generators"]["sketch"]["params"]["sigma"] == 2.0
    assert lineage["generators"] == manifest.generators
    for name in ("generator", "params_hash", "code", "seed", "needs", "key", "missing_only"):
        assert name in manifest.generators["sketch"]
    assert {"anyreid", "python", "pyarrow", "pillow", "numpy"} <= set(lineage["versions"])
    assert lineage["created_at"].startswith("20")


def test_when_and_with_what_a_set_was_published_is_no_part_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = build_here(config(root, tmp_path)).shards
    other = build_here(config(root, tmp_path / "other")).shards
    assert other.fingerprint == first.fingerprint
    before = (tmp_path / "set" / MANIFEST).read_bytes()
    monkeypatch.setattr("reid.dataset.publishing.platform.python_version", lambda: "9.9")
    build_here(config(root, tmp_path))
    assert (tmp_path / "set" / MANIFEST).read_bytes() == before


def test_statistics_of_sets_of_before_stages_were_timed_can_be_read() -> None:
    old: dict[str, Any] = {
        "key": "a", "file": "a.parquet", "split": "train", "rows": 0, "bytes": 0, "sha256": "",
        "row_groups": [], "modalities": {}, "seconds": 1.5,
    }  # fmt: skip
    assert Shard.model_validate(old).seconds == {"all": 1.5}


def test_a_manifest_holds_no_digests_and_the_checksum_of_every_file(tmp_path: Path) -> None:
    found = build_here(config(photos(tmp_path / "in", bad=False), tmp_path)).shards
    for shard in found.manifest.shards:
        data = storage.read_bytes(storage.join(found.root, "data", shard.file))
        assert shard.sha256 == storage.sha256(data) and shard.digests == ""
    assert ShardSet.open(found.root).manifest == found.manifest


@pytest.mark.parametrize("name", ["shards", "identities"])
def test_the_same_build_writes_a_damaged_table_anew(tmp_path: Path, name: str) -> None:
    settings = config(photos(tmp_path / "in", bad=False), tmp_path)
    found = build_here(settings).shards
    tables = {key: ManifestFile.model_validate(one) for key, one in found.manifest.tables.items()}
    file = tmp_path / "set" / tables[name].file
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert damaged_tables(found.root, tables)
    assert build_here(settings).built == 0
    assert damaged_tables(found.root, tables) == [] and file.read_bytes() == whole


@pytest.mark.parametrize("bad", [True, False])
@pytest.mark.parametrize("content", [None, b"PAR1, cut short"])
def test_the_same_build_writes_a_lost_or_damaged_table_of_rejected_rows_anew(
    tmp_path: Path, bad: bool, content: bytes | None
) -> None:
    settings = config(photos(tmp_path / "in", bad=bad), tmp_path)
    rejected = build_here(settings).shards.quarantine()
    assert bool(rejected) == bad
    file = tmp_path / "set" / QUARANTINE
    file.unlink() if content is None else file.write_bytes(content)
    assert build_here(settings).built == 0
    assert ShardSet.at(str(tmp_path / "set")).quarantine() == rejected
