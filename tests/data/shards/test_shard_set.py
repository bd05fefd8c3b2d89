"""The shard set on disk: whole identities in row groups, one commit point, light reading, clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid import storage
from reid.data.shards import schema
from reid.data.shards.manifest import MANIFEST, QUARANTINE_SCHEMA
from reid.data.shards.schema import Caption, Mask, SampleAttribute
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, StorageError
from reid.modality import Modality
from tests.support.replace_storage import replace_storage
from tests.support.sets.shards import make_identities, make_sample, make_shards, write_one

RGB, NIR, TEXT = Modality.RGB, Modality.NIR, Modality.TEXT


def stored_groups(root: Path, key: str) -> list[list[tuple[int, str]]]:
    """(pid, sample id) of the rows of every row group, as a foreign tool reads them."""
    file = pq.ParquetFile(root / "data" / f"{key}.parquet")
    tables = [file.read_row_group(i) for i in range(file.num_row_groups)]
    return [list(zip(t["pid"].to_pylist(), t["sample_id"].to_pylist(), strict=True)) for t in tables]


def test_an_identity_is_never_split_over_row_groups(tmp_path: Path) -> None:
    sizes = [3, 4, 1, 9, 2, 6, 6, 5, 1, 1]  # one is larger than a row group
    samples = make_identities(sizes)
    shard = write_one(tmp_path, "a", samples[::-1], rows_per_group=7)
    groups = stored_groups(tmp_path, "a")
    homes: dict[int, set[int]] = {}
    for number, rows in enumerate(groups):
        for pid, _ in rows:
            homes.setdefault(pid, set()).add(number)
    assert all(len(home) == 1 for home in homes.values())
    assert max(len(rows) for rows in groups) == 9, "only the large identity exceeds the target"
    assert [len(rows) for rows in groups] == [7, 1, 9, 2, 6, 6, 7]
    assert all(len(rows) <= 7 or len({pid for pid, _ in rows}) == 1 for rows in groups)
    assert [[pid for pid, _ in rows] for rows in groups] == [
        [pid for _, pid, n in g.identities for _ in range(n)] for g in shard.row_groups
    ], "the index in the statistics is what lies in the file"
    assert [g.rows for g in shard.row_groups] == [len(rows) for rows in groups]


def test_rows_are_sorted_by_identity_camera_and_sample(tmp_path: Path) -> None:
    samples = [
        make_sample(2, 0, camid=1),
        make_sample(1, 5, camid=2),
        make_sample(1, 4, camid=1),
        make_sample(1, 3, camid=1),
        make_sample(1, 6),
    ]
    write_one(tmp_path, "a", samples)
    assert [name for _, name in stored_groups(tmp_path, "a")[0]] == ["p1-6", "p1-3", "p1-4", "p1-5", "p2-0"]


def test_statistics_count_modalities_by_origin(tmp_path: Path) -> None:
    drawn = make_sample(1, 0, [RGB, NIR])
    captions = (Caption("a"), Caption("b", origin="generated"), Caption("c", origin="generated"))
    generated = replace(drawn.images[NIR], origin="generated")
    other = replace(make_sample(1, 1), images={**drawn.images, NIR: generated}, captions=captions)
    shard = write_one(tmp_path, "a", [drawn, other])
    assert shard.modalities == {
        "rgb": {"captured": 2},
        "nir": {"captured": 1, "generated": 1},
        "text": {"captured": 1, "generated": 1},
    }
    assert (shard.rows, shard.split, shard.key, shard.file) == (2, "train", "a", "a.parquet")


def test_the_checksum_and_size_are_the_files(tmp_path: Path) -> None:
    shard = write_one(tmp_path, "a", make_identities([2, 3]))
    data = (tmp_path / "data" / "a.parquet").read_bytes()
    assert shard.sha256 == storage.sha256(data)
    assert shard.bytes == len(data)


def test_equal_samples_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    samples = make_identities([2, 3, 1], [RGB, TEXT])
    assert write_one(tmp_path, "a", samples).sha256 == write_one(tmp_path, "b", samples[::-1]).sha256


def test_a_set_without_its_manifest_is_not_there(tmp_path: Path) -> None:
    write_one(tmp_path, "a", make_identities([2]))
    with pytest.raises(DataError, match=rf"{tmp_path}: no shard set here .*jobs\.build"):
        ShardSet.open(str(tmp_path))


def test_the_manifest_is_published_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = storage.write_bytes

    def note(uri: str, data: bytes) -> None:
        assert not (tmp_path / MANIFEST).exists()
        written.append(uri.rsplit("/", 1)[-1])
        write(uri, data)

    replace_storage(monkeypatch, "write_bytes", note)
    make_shards(tmp_path, [make_identities([2]), make_identities([1], split="test")])
    assert [name.split("-")[0] for name in written] == [
        "s0.parquet",
        "s1.parquet",
        "shards",
        "identities",
        "quarantine.parquet",
        MANIFEST,
    ]


def test_a_publication_that_fails_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shards(tmp_path, [make_identities([2])], fingerprint="old")
    write = storage.write_bytes

    def fail(uri: str, data: bytes) -> None:
        if uri.endswith(MANIFEST):
            raise StorageError("disk full")
        write(uri, data)

    replace_storage(monkeypatch, "write_bytes", fail)
    with pytest.raises(StorageError):
        make_shards(tmp_path, [make_identities([2])], fingerprint="new")
    assert ShardSet.open(str(tmp_path)).fingerprint == "old"


def test_samples_come_back_group_by_group(tmp_path: Path) -> None:
    train, test = make_identities([3, 2, 4], [RGB, NIR, TEXT]), make_identities([1], split="test")
    found = make_shards(tmp_path, [train[:5], train[5:], test], rows_per_group=3)
    groups = found.groups("train")
    assert [g.rows for g in groups] == [3, 2, 4]
    assert [s for g in groups for s in found.read_group(g)] == train
    assert [n for g in groups for n in found.sample_ids(g)] == [s.labels.sample_id for s in train]
    assert found.identities("train") == {("made", 0): 3, ("made", 1): 2, ("made", 2): 4}
    assert (found.rows("train"), found.rows("test"), found.rows("val")) == (9, 1, 0)
    assert [f.rsplit("/", 1)[-1] for f in found.files("train")] == ["s0.parquet", "s1.parquet"]


def test_labels_are_everything_but_the_pictures_bytes(tmp_path: Path) -> None:
    full = make_sample(1, 0, [RGB, NIR, TEXT], camid=4, roles=("query",), extra={"k": "v"})
    full = replace(
        full,
        labels=replace(full.labels, attributes=(SampleAttribute("hat", "no"),)),
        images={
            **full.images,
            NIR: replace(full.images[NIR], origin="generated", generator="g", source_id="s"),
        },
        mask=Mask(b"png", 0.5, "generated", "m"),
        content_hash="abc",
    )
    samples = [full, make_sample(2, 0, [RGB]), make_sample(3, 0, [TEXT])]
    light = make_shards(tmp_path, [samples]).labels("train")
    expected = [
        replace(
            s,
            images={m: replace(i, image=b"") for m, i in s.images.items()},
            mask=None if s.mask is None else replace(s.mask, image=b""),
        )
        for s in samples
    ]
    assert light == expected


def test_labels_read_no_image_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_shards(tmp_path, [make_identities([2], [RGB, NIR])])
    asked: list[list[str]] = []
    read = pq.ParquetFile.read

    def note(self: pq.ParquetFile, columns: list[str]) -> Any:
        table = read(self, columns=columns)
        asked.append([f.name for c in ("rgb", "nir", "mask") for f in table.schema.field(c).type])
        return table

    monkeypatch.setattr(pq.ParquetFile, "read", note)
    assert len(found.labels("train")) == 2
    assert len(asked) == 1
    assert "width" in asked[0]
    assert "image" not in asked[0]


def test_labels_of_many_row_groups_files_and_none(tmp_path: Path) -> None:
    train = make_identities([3, 2, 4])
    found = make_shards(tmp_path, [train[:5], train[5:]], rows_per_group=2)
    assert [s.labels for s in found.labels("train")] == [s.labels for s in train]
    assert found.labels("test") == []


def test_cameras_are_those_of_training_rows_and_known(tmp_path: Path) -> None:
    train = [
        make_sample(0, 0, camid=7),
        make_sample(0, 1, camid=2),
        make_sample(0, 2),
        make_sample(0, 3, camid=7),
    ]
    found = make_shards(tmp_path, [train, [make_sample(1, camid=9, split="test")]])
    assert found.cameras == [2, 7]


@pytest.mark.parametrize("change", ["0", None, "2"])
def test_a_manifest_of_another_version_is_refused_with_the_remedy(tmp_path: Path, change: str | None) -> None:
    make_shards(tmp_path, [make_identities([2])])
    tree = storage.read_json(str(tmp_path / MANIFEST))
    storage.write_json(str(tmp_path / MANIFEST), {**tree, "schema_version": change})
    with pytest.raises(DataError, match=rf"schema version {change}, expected 1; build it anew"):
        ShardSet.open(str(tmp_path))


@pytest.mark.parametrize("text", ["[]", '{"schema_version": "1"}', "{", "null"])
def test_a_damaged_manifest_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=str(tmp_path)):
        ShardSet.open(str(tmp_path))


def test_a_shard_of_another_version_is_refused(tmp_path: Path) -> None:
    found = make_shards(tmp_path, [make_identities([2])])
    file = tmp_path / "data" / "s0.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata({"anyreid.schema_version": "0"}), file)
    reads: list[Callable[[], object]] = [
        lambda: found.labels("train"),
        lambda: found.read_group(found.groups("train")[0]),
    ]
    for read in reads:
        with pytest.raises(DataError, match=r"s0\.parquet: .*version 0, expected 1; build it anew"):
            read()


@pytest.mark.parametrize("damage", ["missing", "cut", "scribbled"])
def test_a_damaged_shard_is_a_data_error_that_names_the_file(tmp_path: Path, damage: str) -> None:
    found = make_shards(tmp_path, [make_identities([2])])
    file = tmp_path / "data" / "s0.parquet"
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(data[:-20])
    else:  # the footer stays readable
        file.write_bytes(data[:4] + b"\xff" * 400 + data[404:])
    with pytest.raises(DataError, match=r"(?s)s0\.parquet: not a readable shard .*Rebuild"):
        found.read_group(found.groups("train")[0])


def test_quarantined_rows_come_back_with_their_reasons(tmp_path: Path) -> None:
    rows = [
        {
            "sample_id": "a",
            "dataset": "made",
            "split": "train",
            "pid": 3,
            "stage": "read",
            "reason": "a.jpg: empty file (0 bytes).",
            "files": ["a.jpg", "b.jpg"],
        },
        {**dict.fromkeys(QUARANTINE_SCHEMA.names), "sample_id": "b", "files": []},
    ]
    found = make_shards(tmp_path, [make_identities([1])], quarantined=2, quarantine_rows=rows)
    assert found.quarantine() == rows
    assert found.manifest.quarantined == 2


def test_nothing_quarantined_is_an_empty_table(tmp_path: Path) -> None:
    assert make_shards(tmp_path, [make_identities([1])]).quarantine() == []


def test_a_shard_whose_rows_were_all_set_aside_belongs_to_no_split(tmp_path: Path) -> None:
    found = make_shards(tmp_path, [[], make_identities([1])])
    assert found.manifest.shards[0].rows == 0
    assert [found.rows(s) for s in schema.SPLITS] == [1, 0, 0]


def test_the_manifest_is_json_and_arrow_that_any_tool_can_read(tmp_path: Path) -> None:
    found = make_shards(tmp_path, [make_identities([2, 1])])
    tables = json.loads((tmp_path / MANIFEST).read_text())["tables"]
    shards, identities = (
        pa.ipc.open_file(pa.memory_map(str(tmp_path / tables[name]["file"]))).read_all()
        for name in ("shards", "identities")
    )
    assert shards.select(["key", "rows", "split"]).to_pylist() == [{"key": "s0", "rows": 3, "split": "train"}]
    assert identities.select(["dataset", "pid", "rows"]).to_pylist() == [
        {"dataset": "made", "pid": 0, "rows": 2},
        {"dataset": "made", "pid": 1, "rows": 1},
    ]
    assert found.manifest.shards[0].row_groups[0].identities == [("made", 0, 2), ("made", 1, 1)]
