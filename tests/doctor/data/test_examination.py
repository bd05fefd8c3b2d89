"""The examination of a folder: a healthy one is silent, and every planted fault is told, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from PIL import Image

from reid import storage
from reid.config import load
from reid.doctor.data.examination import Extent, Report, choose_examined, examine, examine_config
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding
from reid.errors import ConfigError, DataError
from tests.support.replace_storage import replace_storage
from tests.support.sets.faulty import FAULTS, blank, copy, replace, set_all
from tests.support.sets.healthy import by_code, healthy, recoded
from tests.support.sets.shards import make_identities


def find(report: Report, code: str) -> Finding:
    (found,) = [f for f in report.findings if f.code == code]
    return found


def test_a_healthy_set_has_no_findings(tmp_path: Path) -> None:
    report = examine(healthy(tmp_path / "own").write())
    assert report.findings == [] and report.ok
    assert (report.layout, report.protocol, report.captures, report.looked_at) == (
        "folder",
        "cross_camera",
        12,
        12,
    )
    assert report.counts == {
        split: {
            "all": {
                "captures": 6,
                "identities": 2,
                "cameras": 3,
                "images": {"rgb": 6, "nir": 6},
                "captions": 6,
            }
        }
        for split in ("train", "test")
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_told_and_nothing_else(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    world = healthy(tmp_path / "own")
    fault.plant(world)
    report = examine(world.write())
    assert by_code(report.findings) == fault.told
    found = find(report, next(iter(fault.told)))
    assert found.level == fault.level
    assert fault.example in (found.example or "")
    assert found.remedy
    for word in fault.words:
        assert word in found.text or word in found.remedy
    assert report.ok == (fault.level != "error")


def test_every_row_with_one_kind_of_problem_counts_and_kinds_are_told_apart(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    for camera in range(3):
        world.file(1, camera).unlink()
    world.row(2, 0)["split"] = "trian"
    report = examine(world.write())
    found = [f for f in report.findings if f.code == "unusable-row"]
    assert [f.count for f in found] == [3, 1]
    assert "'trian'" in (found[1].example or "")


def test_roles_are_counted_apart(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    set_all(world, "role", "gallery", "test")
    for modality in ("rgb", "nir"):
        world.row(11, 0, modality)["role"] = "query"
    counts = examine(world.write()).counts["test"]
    assert {role: n["captures"] for role, n in counts.items()} == {"all": 6, "query": 1, "gallery": 5}
    assert counts["query"]["identities"] == 1


def test_overrides_change_what_is_read_and_asked(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    for row in world.rows:
        row["split"] = {"train": "T", "test": "E"}[row["split"]]
    rules = "data.reader.roles={T: {split: train}, E: {split: test}}"
    report = examine(world.write(), given=[rules, "evaluate.protocol=all"])
    assert report.findings == [] and report.protocol == "all"
    assert report.next is not None and rules in report.next


def test_a_wrong_override_is_wrong_usage(tmp_path: Path) -> None:
    root = healthy(tmp_path / "own").write()
    with pytest.raises(ConfigError, match="protcol"):
        examine(root, given=["evaluate.protcol=all"])
    with pytest.raises(ConfigError, match="manifst"):
        examine(root, reader="folder", given=["data.reader.manifst=list.csv"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no such folder"):
        examine(str(tmp_path / "absent"))


def test_the_next_command_carries_what_was_recognised(tmp_path: Path) -> None:
    root = healthy(tmp_path / "Own Set").write()
    told = examine(root).next
    assert told is not None
    assert told.startswith("python -m jobs.build --preset baseline/demo ")
    for part in (
        f'"path": "{root}"',
        "data.name=own-set",
        "data.modalities=rgb+nir+text",
        "manifest=list.csv",
    ):
        assert part in told


def test_a_sample_is_read_and_all_files_on_demand(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    for row in world.rows:
        (world.root / row["file"]).write_bytes(b"no picture")
    root = world.write()
    few = examine(root, reader="folder", extent=Extent(sample=5))
    assert (few.looked_at, find(few, "unreadable").count) == (5, 5)
    every = examine(root, reader="folder", extent=Extent(sample=5, everything=True))
    assert (every.looked_at, find(every, "unreadable").count) == (12, 12)


def test_half_of_a_sample_is_whole_test_identities_and_the_draw_repeats() -> None:
    samples = make_identities([4] * 20, split="train") + make_identities([4] * 20, split="test")
    entries = [ExaminedSample(s) for s in samples]
    chosen = choose_examined(entries, Extent(sample=40))
    assert len(set(chosen)) == 40 and chosen == sorted(chosen) == choose_examined(entries, Extent(sample=40))
    tested = [entries[i].identity for i in chosen if entries[i].split == "test"]
    assert sum(tested.count(who) == 4 for who in set(tested)) >= 5


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    done: dict[str, int] = {}

    def watch(what: str, total: int) -> Callable[[int], None]:
        def add(count: int) -> None:
            done[f"{what} of {total}"] = done.get(f"{what} of {total}", 0) + count

        return add

    examine(healthy(tmp_path / "own").write(), watch=watch)
    assert done["pictures of 12"] == 12


def test_copies_that_the_protocol_leaves_out_are_no_fault(tmp_path: Path) -> None:
    """RGBNT100 and MSVR310 keep their queries in the gallery, too: same identity, same camera."""
    world = healthy(tmp_path / "own")
    copy(world.file(11, 0), world.file(11, 1))
    replace(world, 12, 1, recoded(world.file(12, 0)))
    for pid in (11, 12):
        for modality in ("rgb", "nir"):
            world.row(pid, 1, modality)["camid"] = 0
    root = world.write()
    assert by_code(examine(root).findings) == {}
    assert by_code(examine(root, given=["evaluate.protocol=roles"]).findings) == {
        "query-finds-its-copy": 1,
        "near-duplicate": 1,
    }


def test_a_darker_picture_of_like_shapes_is_no_copy(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    Image.open(world.file(11, 0)).point(lambda level: level // 2).save(world.file(11, 1))
    assert by_code(examine(world.write()).findings) == {}


def test_alike_placeholders_are_blank_not_mislabelled(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    blank(world)
    copy(world.file(1, 0), world.file(2, 1))
    root = world.write()
    assert by_code(examine(root).findings) == {"blank-picture": 2}
    few = examine(root, given=["evaluate.protocol=all"], extent=Extent(sample=1))
    assert by_code(few.findings).keys() <= {"blank-picture"}, "also where they were not looked at"


def test_real_photos_have_no_copies_and_no_errors(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROCERY", str(data_root / "grocery"))
    config = load("baseline/grocery")
    report = examine_config(config, "build", Extent(sample=200))
    told = by_code(report.findings)
    assert told == {
        "train-test-overlap": 60,  # a closed set
        "modality-imbalance": 1,
        "long-caption": 10,
        "single-camera": 60,
        "foreign-caption": 5,
    }
    assert report.counts["test"]["query"]["captures"] == 300


def test_a_remote_folder_is_examined_like_a_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = healthy(tmp_path / "bucket" / "own")
    copy(world.file(1, 0), world.file(2, 1))
    world.write()
    local = storage.resolve

    def resolve(uri: str | Path) -> tuple[pafs.FileSystem, str]:
        if not str(uri).startswith("s3://"):
            return local(uri)
        return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), str(uri).removeprefix("s3://")

    replace_storage(monkeypatch, "resolve", resolve)
    report = examine("s3://bucket/own")
    assert report.captures == 12
    assert by_code(report.findings) == {"same-picture-two-identities": 1}
    assert report.next is not None and '"path": "s3://bucket/own"' in report.next


def test_a_report_is_json(tmp_path: Path) -> None:
    world = healthy(tmp_path / "own")
    blank(world)
    told = json.loads(json.dumps(examine(world.write()).to_json()))
    assert told["ok"] is True
    (found,) = told["findings"]
    assert set(found) == {"level", "code", "text", "example", "remedy", "count", "files", "files_total"}
    assert found["files_total"] == len(found["files"]) == found["count"]
