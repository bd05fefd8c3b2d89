"""A changed generator makes its own pictures anew and nothing else: rows come from earlier shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.dataset.build import BuildResult, describe_build
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.dataset.stages import reading
from reid.modality import Modality
from tests.support.replace_storage import replace_storage
from tests.support.sets.builds import BATCHES, made_up
from tests.support.sets.photos import BAD, build_here, config, jpeg, photos, rows_of

RGB, NIR, SKETCH = Modality.RGB, Modality.NIR, Modality.SKETCH
BOTH = "build.generate={sketch: {generator: sketch_dodge}, nir: {generator: ir_gray}}"
DEFAULT = "data.shards=null"


@pytest.fixture(autouse=True)
def _generators() -> Iterator[None]:
    with made_up():
        yield


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples that were read from raw files."""
    seen: list[str] = []
    read = reading.read_record

    def note(record: Any, reader: Any, max_pixels: int) -> Any:
        if record.problem is None:
            seen.append(record.labels.sample_id)
        return read(record, reader, max_pixels)

    monkeypatch.setattr(reading, "read_record", note)
    return seen


def samples(result: BuildResult) -> dict[str, Sample]:
    return {s.labels.sample_id: s for split in ("train", "test") for s in rows_of(result.shards, split)}


@pytest.mark.parametrize("place", ["one folder", "a folder a set"])
def test_only_the_changed_target_is_made_again_and_no_raw_file_is_read(
    tmp_path: Path, read_files: list[str], place: str
) -> None:
    root, where = photos(tmp_path / "in", bad=False), [DEFAULT] if place != "one folder" else []
    first = build_here(config(root, tmp_path, BOTH, *where))
    before = samples(first)
    read_files.clear()
    second = build_here(config(root, tmp_path, BOTH, "build.generate.sketch.params={sigma: 3.0}", *where))
    after = samples(second)
    assert read_files == []
    assert (second.shards.root == first.shards.root) == (place == "one folder")
    assert (second.built, second.reused) == (3, 0)
    assert second.refreshed == {"made": {"sketch": 3}, "kept": {"nir": 3, "read": 3}}
    assert second.lines()[0] == "sketch regenerated in 3 shards; nir, read kept"
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        assert (new.images[RGB], new.images[NIR], new.labels) == (
            old.images[RGB],
            old.images[NIR],
            old.labels,
        )
        assert new.images[SKETCH].image != old.images[SKETCH].image
        assert new.images[SKETCH].params_hash != old.images[SKETCH].params_hash


def test_the_result_is_that_of_a_build_from_raw_files(tmp_path: Path) -> None:
    root = photos(tmp_path / "in")
    change = [BOTH, "build.generate.sketch.params={sigma: 3.0}"]
    build_here(config(root, tmp_path, BOTH))
    taken = build_here(config(root, tmp_path, *change))
    raw = build_here(config(root, tmp_path / "other", *change))
    assert [s.sha256 for s in taken.shards.manifest.shards] == [s.sha256 for s in raw.shards.manifest.shards]
    assert taken.shards.fingerprint == raw.shards.fingerprint
    assert taken.shards.quarantine() == raw.shards.quarantine()


def test_a_new_target_is_added_and_a_removed_one_is_dropped(tmp_path: Path, read_files: list[str]) -> None:
    root = photos(tmp_path / "in", bad=False)
    only = "build.generate={sketch: {generator: sketch_dodge}}"
    first = build_here(config(root, tmp_path, only))
    read_files.clear()
    more = build_here(config(root, tmp_path, BOTH))
    assert {s.modalities for s in samples(more).values()} == {(RGB, NIR, SKETCH)}
    assert more.refreshed == {"made": {"nir": 3}, "kept": {"sketch": 3, "read": 3}}
    none = build_here(config(root, tmp_path, "build.generate={}"))
    assert {s.modalities for s in samples(none).values()} == {(RGB,)}
    back = build_here(config(root, tmp_path, only))
    assert (back.built, back.reused) == (0, 3), "finished shards of the first build still lie there"
    assert back.shards.fingerprint == first.shards.fingerprint and read_files == []


def test_a_changed_mask_makes_what_looks_at_it_again(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    mask = "build.generate.mask={generator: net_mask}"
    given = [BOTH, mask, "build.generate.sketch.generator=cut_sketch"]
    build_here(config(root, tmp_path, *given))
    again = build_here(config(root, tmp_path, *given, "build.generate.mask.params={level: 50}"))
    assert again.refreshed == {"made": {"mask": 3, "sketch": 3}, "kept": {"nir": 3, "read": 3}}


def test_only_rows_in_groups_of_another_length_make_nothing_anew(
    tmp_path: Path, read_files: list[str]
) -> None:
    root = photos(tmp_path / "in", bad=False)
    given = "build.generate={text: {generator: net_text}}"
    first = build_here(config(root, tmp_path, given))
    read_files.clear()
    BATCHES.clear()
    second = build_here(config(root, tmp_path, given, "build.rows_per_group=4"))
    assert BATCHES == [] and read_files == []
    assert second.shards.fingerprint != first.shards.fingerprint
    assert samples(second) == samples(first)


def test_what_a_caption_stated_goes_with_it(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = build_here(config(root, tmp_path, "build.generate={text: {generator: cap_attr}}"))
    stated = {a.source for s in samples(first).values() for a in s.labels.attributes}
    assert stated == {"cap_attr"}
    again = build_here(config(root, tmp_path, "build.generate={text: {generator: net_text}}"))
    for sample in samples(again).values():
        assert sample.labels.attributes == () and len(sample.captions) == 1
        assert sample.captions[0].generator == "net_text"


def failing(name: str) -> str:
    text = f"{{generator: net_text, params: {{fails: {name}}}}}"
    return f"build.generate={{text: {text}, sketch: {{generator: sketch_dog}}}}"


def test_rows_set_aside_stay_so_unless_their_stage_changed(tmp_path: Path, read_files: list[str]) -> None:
    root = photos(tmp_path / "in")
    first = build_here(config(root, tmp_path, failing("1_0.jpg")))
    assert {r["sample_id"]: r["stage"] for r in first.shards.quarantine()} == {
        **dict.fromkeys([*BAD, "unknown.jpg"], "read"), "1_0.jpg": "text"
    }  # fmt: skip
    read_files.clear()
    change = "build.generate.sketch.params={sigma: 2.0}"
    second = build_here(config(root, tmp_path, failing("1_0.jpg"), change))
    assert second.shards.quarantine() == first.shards.quarantine(), "text is unchanged"
    assert read_files == []
    read_files.clear()
    third = build_here(config(root, tmp_path, failing("nobody"), change))
    assert {r["sample_id"] for r in third.shards.quarantine()} == {*BAD, "unknown.jpg"}
    assert read_files == ["1_0.jpg"], "the one that text had set aside"
    assert samples(third)["1_0.jpg"].images[SKETCH].generator == "sketch_dog"
    assert "rows set aside before were tried again" in third.lines()[0]


def test_a_shard_whose_captured_pictures_were_replaced_is_no_donor_for_keeping_them(
    tmp_path: Path, read_files: list[str]
) -> None:
    root = photos(tmp_path / "in", bad=False)
    over = "build.generate={rgb: {generator: copy_rgb, missing_only: false}}"
    from reid.generate import registry
    from reid.modality import Target

    @registry.generator("copy_rgb", Target.RGB)
    def copy_rgb(pixels: Any, rngs: Any, *, plus: int = 1) -> Any:
        return pixels ^ plus

    first = build_here(config(root, tmp_path, over))
    assert {s.images[RGB].origin for s in samples(first).values()} == {"generated"}
    read_files.clear()
    kept = build_here(config(root, tmp_path, "build.generate={}"))
    assert len(read_files) == 9 and kept.refreshed == {"made": {}, "kept": {}}
    assert {s.images[RGB].origin for s in samples(kept).values()} == {"captured"}


@pytest.mark.parametrize("damage", ["scribbled", "deleted"])
def test_a_donor_that_is_damaged_meanwhile_is_passed_over(
    tmp_path: Path, read_files: list[str], damage: str
) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = build_here(config(root, tmp_path, BOTH))
    victim = sorted((Path(first.shards.root) / "data").glob("*.parquet"))[0]
    if damage == "scribbled":
        data = victim.read_bytes()
        victim.write_bytes(data[:100] + b"\0" * 50 + data[150:])
    else:
        victim.unlink()
    read_files.clear()
    change = [BOTH, "build.generate.sketch.params={sigma: 3.0}"]
    second = build_here(config(root, tmp_path, *change))
    assert 0 < len(read_files) < 9
    raw = build_here(config(root, tmp_path / "other", *change))
    assert [s.sha256 for s in second.shards.manifest.shards] == [s.sha256 for s in raw.shards.manifest.shards]


def test_a_rewritten_file_is_read_again_whatever_the_donors(tmp_path: Path, read_files: list[str]) -> None:
    root = photos(tmp_path / "in", bad=False)
    build_here(config(root, tmp_path, BOTH))
    (root / "0_0.jpg").write_bytes(jpeg(1234, (40, 40)))
    read_files.clear()
    second = build_here(config(root, tmp_path, BOTH, "build.generate.sketch.params={sigma: 3.0}"))
    assert sorted(read_files) == ["0_0.jpg", "0_1.jpg", "1_0.jpg", "1_1.jpg"]
    assert samples(second)["0_0.jpg"].images[RGB].width == 40


def test_the_donor_with_most_of_what_is_wanted_is_taken(tmp_path: Path, read_files: list[str]) -> None:
    root = photos(tmp_path / "in", bad=False)
    build_here(config(root, tmp_path, DEFAULT, "build.generate={}"))
    build_here(config(root, tmp_path, DEFAULT, BOTH))
    build_here(config(root, tmp_path, DEFAULT, "build.generate={sketch: {generator: sketch_dodge}}"))
    last = build_here(config(root, tmp_path, DEFAULT, BOTH, "build.rows_per_group=4"))
    assert last.refreshed["kept"] == {"sketch": 3, "nir": 3, "read": 3} and last.refreshed["made"] == {}


def test_a_dry_run_says_what_would_be_made_of_earlier_shards(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    build_here(config(root, tmp_path, DEFAULT, BOTH))
    plan = describe_build(config(root, tmp_path, DEFAULT, BOTH, "build.generate.sketch.params={sigma: 3.0}"))
    assert (plan["planned"], plan["finished"], plan["from_earlier"]) == (3, 0, 3)
    assert plan["regenerate"] == {"sketch": 3} and plan["stages"] == [["sketch", "nir"]]


def test_donors_are_found_by_listing_and_few_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reid import storage

    root = photos(tmp_path / "in", bad=False)
    build_here(config(root, tmp_path, DEFAULT, BOTH))
    other = photos(tmp_path / "elsewhere", identities=8, bad=False)
    build_here(config(other, tmp_path, DEFAULT, BOTH))
    read: list[str] = []
    real = storage.read_json

    def note(uri: str) -> Any:
        read.append(uri)
        return real(uri)

    replace_storage(monkeypatch, "read_json", note)
    describe_build(config(root, tmp_path, DEFAULT, BOTH, "build.rows_per_group=3"))
    assert len(read) == 3, "one statistics file a shard; the other source's are not opened"


def test_the_set_the_rows_came_from_may_be_deleted_afterwards(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    first = build_here(config(root, tmp_path, DEFAULT, BOTH))
    second = build_here(config(root, tmp_path, DEFAULT, BOTH, "build.rows_per_group=4"))
    shutil.rmtree(first.shards.root)
    assert len(samples(second)) == 9
    assert build_here(config(root, tmp_path, DEFAULT, BOTH, "build.rows_per_group=4")).built == 0
    assert ShardSet.open(second.shards.root).fingerprint == second.shards.fingerprint
