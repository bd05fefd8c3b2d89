"""Verifying a set: a sound one passes, and every kind of damage is told with the file it is in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.dataset.verify import verify
from reid import storage
from reid.data.shards import shard_set as shards_module
from reid.data.shards.manifest import MadeBy
from reid.data.shards.schema import Image, Mask, Sample
from reid.data.shards.shard_set import ShardSet, publish, write_shard
from reid.dataset.verify import SetVerdict, discard_statistics
from reid.modality import Modality
from tests.support.sets.shards import make_identities, make_sample, make_shards

RGB, SKETCH = Modality.RGB, Modality.SKETCH


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    people = make_identities([3, 2, 4, 2], [RGB, Modality.TEXT])
    return make_shards(tmp_path, [people[:5], people[5:]], 4, counts={"train": {"rows": len(people)}})


def verdict(root: Path, **options: Any) -> SetVerdict:
    return verify(ShardSet.open(str(root)), parallel=False, out=lambda _: None, **options)


def rewritten(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The manifest with a change."""
    file = root / "MANIFEST.json"
    tree = json.loads(file.read_text())
    change(tree)
    file.write_text(json.dumps(tree))


def replaced(root: Path, samples: list[Sample], **shard: Any) -> None:
    """The first shard holds these samples, and the manifest knows it (but not what is wrong with them)."""
    new = write_shard(samples, str(root / "data" / "s0.parquet"), "s0", 4, [])
    manifest = ShardSet.open(str(root)).manifest
    shards = [new.model_copy(update=shard), *manifest.shards[1:]]
    publish(str(root), manifest.model_copy(update={"shards": shards}))


def test_a_sound_set_passes_and_says_what_was_looked_at(tmp_path: Path, shards: ShardSet) -> None:
    found = verdict(tmp_path)
    assert found.sound and (found.shards, found.rows, found.pictures) == (2, 11, 11)
    assert verdict(tmp_path, share=0.0).pictures == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: f.unlink(), "the file is missing"),
        (lambda f: f.write_bytes(f.read_bytes()[:-9]), "bytes, not"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"\0"), "content changed"),
    ],
)
def test_a_damaged_file_is_named_and_given_up_so_that_a_build_makes_it_again(
    tmp_path: Path, shards: ShardSet, damage: Callable[[Path], object], told: str
) -> None:
    (tmp_path / "data" / "s1.json").write_text("{}")
    damage(tmp_path / "data" / "s1.parquet")
    found = verdict(tmp_path)
    assert list(found.problems) == ["data/s1.parquet"] and found.damaged == ["s1"]
    assert told in found.problems["data/s1.parquet"][0]
    discard_statistics(shards, found.damaged)
    assert not (tmp_path / "data" / "s1.json").exists()


def test_rows_that_contradict_the_manifest_are_told(tmp_path: Path, shards: ShardSet) -> None:
    people = make_identities([3, 2], [RGB, Modality.TEXT])

    replaced(tmp_path, [*people, make_sample(9)], row_groups=shards.manifest.shards[0].row_groups)
    (problem, *_) = verdict(tmp_path).problems["data/s0.parquet"]
    assert "row group" in problem

    replaced(tmp_path, people, modalities={"rgb": {"generated": 5}})
    assert "counts of modalities differ" in verdict(tmp_path).problems["data/s0.parquet"][0]

    replaced(tmp_path, people, split="test")
    assert "split train in a shard of test" in verdict(tmp_path).problems["data/s0.parquet"][0]


def test_unsorted_rows_are_told(tmp_path: Path, shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    people = make_identities([3, 2], [RGB, Modality.TEXT])
    with monkeypatch.context() as patched:
        patched.setattr(shards_module, "row_order", lambda sample: 0)
        replaced(tmp_path, people[::-1])
    assert any("not sorted" in p for p in verdict(tmp_path).problems["data/s0.parquet"])


def test_pictures_that_do_not_decode_or_have_another_size_are_told(tmp_path: Path, shards: ShardSet) -> None:
    one, two, three, *rest = make_identities([3, 2], [RGB, Modality.TEXT])
    broken = replace(one, images={RGB: Image(b"no picture", 8, 8)})
    wrong = replace(two, images={RGB: replace(two.images[RGB], width=9)})
    masked = replace(three, mask=Mask(b"no mask"))
    replaced(tmp_path, [broken, wrong, masked, *rest])
    problems = verdict(tmp_path).problems["data/s0.parquet"]
    assert len(problems) == 3
    assert "p0-0: rgb: not an image" in problems[0]
    assert "p0-1: rgb is 8x8, not 9x8" in problems[1]
    assert "p0-2: mask" in problems[2]
    assert verdict(tmp_path, share=0.0).sound, "pictures are only looked at in the share asked for"


def test_generated_pictures_of_other_parameters_are_told(tmp_path: Path, shards: ShardSet) -> None:
    sample = make_sample(0)
    made = replace(sample.images[RGB], origin="generated", generator="dog", params_hash="old")
    drawn = replace(sample, images={**sample.images, SKETCH: made})
    by = {"sketch": MadeBy(key="k", generator="dog", params_hash="new", missing_only=False)}
    replaced(tmp_path, [drawn], made=by)
    rewritten(tmp_path, lambda tree: tree["counts"].update(train={"rows": 7}))
    assert "sketch was made with other parameters" in verdict(tmp_path).problems["data/s0.parquet"][0]


def test_a_generated_picture_that_the_source_brought_along_is_no_fault(tmp_path: Path) -> None:
    sample = make_sample(0)
    made = replace(sample.images[RGB], origin="generated", generator="dog", params_hash="old")
    brought = replace(sample, images={**sample.images, SKETCH: made})
    make_shards(tmp_path, [[brought]], counts={"train": {"rows": 1}})
    replaced(tmp_path, [brought], made={"sketch": MadeBy(key="k", generator="dog", params_hash="new")})
    assert verdict(tmp_path).sound


def test_one_id_in_two_rows_and_wrong_counts_are_problems_of_the_set(tmp_path: Path) -> None:
    people = make_identities([2, 2])
    make_shards(tmp_path, [people, people[:1]])
    assert "1 sample ids occur in more than one row" in verdict(tmp_path).problems["MANIFEST.json"]
    rewritten(tmp_path, lambda tree: tree["counts"].update(train={"rows": 99}))
    assert "counts 99 rows" in verdict(tmp_path).problems["MANIFEST.json"][1]


def test_a_quarantine_of_another_length_is_told(tmp_path: Path, shards: ShardSet) -> None:
    rewritten(tmp_path, lambda tree: tree.update(quarantined=3))
    assert verdict(tmp_path).problems == {"quarantine.parquet": ["0 rows, the manifest has 3"]}


def test_files_of_nobody_are_listed_and_no_problem(tmp_path: Path, shards: ShardSet) -> None:
    storage.write_bytes(str(tmp_path / "data" / "left.parquet"), b"x")
    found = verdict(tmp_path)
    assert found.sound and found.stray == ["left.parquet"]


def test_shards_are_checked_alike_on_ray(ray_session: None, tmp_path: Path, shards: ShardSet) -> None:
    (tmp_path / "data" / "s1.parquet").write_bytes(b"x")
    assert verify(shards, out=lambda _: None) == verdict(tmp_path)
