"""Leftovers: what a killed build leaves half-done goes, what may be needed and what is not ours stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipelines.dataset.build import build
from reid.config import Config
from reid.data.shards.manifest import Shard
from reid.dataset.cleaning import clean
from reid.dataset.planning.shard_task import ShardTask
from reid.dataset.stages.running import run_here
from reid.errors import DataError
from tests.support.sets.photos import build_here, config, photos, rows_of
from tests.support.tiny_configs import silent

AGE = 3600.0
KEY, OTHER, OLD = "0123456789ab-0123456789ab", "aaaaaaaaaaaa-bbbbbbbbbbbb", "cccccccccccc"
PARTIAL = f".{'f' * 32}.partial"


def lay(root: Path, *names: str, age: float = 2 * AGE) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (time.time() - age,) * 2)


def left(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def finished(key: str) -> list[str]:
    return [f"data/{key}.json", f"data/{key}.parquet"]


def test_half_done_files_go_and_finished_ones_stay(tmp_path: Path) -> None:
    lay(tmp_path, *finished(KEY), *finished(OTHER), f"data/{OLD}.parquet", f"data/{'d' * 12}.json")
    lay(tmp_path, f"data/{KEY}.parquet{PARTIAL}", f"data/{OTHER}.json{PARTIAL}", f"MANIFEST.json{PARTIAL}")
    gone = clean(str(tmp_path), [KEY], superseded=False, age_s=AGE)
    assert left(tmp_path) == sorted([*finished(KEY), *finished(OTHER)])
    assert len(gone) == 5


def test_finished_ones_that_nobody_needs_go_when_asked(tmp_path: Path) -> None:
    lay(tmp_path, *finished(KEY), *finished(OTHER))
    clean(str(tmp_path), [KEY], superseded=True, age_s=AGE)
    assert left(tmp_path) == finished(KEY)


def test_young_files_stay_for_another_build_may_be_writing_them(tmp_path: Path) -> None:
    names = [f"data/{OTHER}.parquet", f"data/{KEY}.json{PARTIAL}"]
    lay(tmp_path, *names, age=AGE / 2)
    assert clean(str(tmp_path), [], superseded=True, age_s=AGE) == []
    assert left(tmp_path) == sorted(names)


def test_plans_stay_for_a_week_for_a_build_reads_them_until_it_ends(tmp_path: Path) -> None:
    lay(tmp_path, f"plan/{'a' * 16}.arrow", age=6 * 86400)
    lay(tmp_path, f"plan/{'b' * 16}.arrow", age=8 * 86400)
    clean(str(tmp_path), [], superseded=False, age_s=AGE)
    assert left(tmp_path) == [f"plan/{'a' * 16}.arrow"]


@pytest.mark.parametrize(
    "name",
    [
        "data/mine.parquet", "data/0123456789ab.txt", "notes.partial", f"data/{KEY}.parquet.partial",
        f"{OTHER}.parquet", f"data/deeper/{OTHER}.parquet", "MANIFEST.json", "quarantine.parquet",
        f"data/X{OTHER}.parquet", f"data/{OTHER}.parquet.bak",
    ],
)  # fmt: skip
def test_what_no_build_wrote_there_stays(tmp_path: Path, name: str) -> None:
    lay(tmp_path, name)
    assert clean(str(tmp_path), [], superseded=True, age_s=AGE) == []
    assert left(tmp_path) == [name]


def test_a_later_build_cleans_after_a_killed_one(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    build_here(config(root, tmp_path))
    lay(tmp_path / "set", f"data/{OTHER}.parquet", f"data/{KEY}.parquet{PARTIAL}")
    assert build_here(config(root, tmp_path, "build.clean=never")).cleaned == []
    again = build_here(config(root, tmp_path))
    assert [Path(uri).name for uri in again.cleaned] == [f"{KEY}.parquet{PARTIAL}", f"{OTHER}.parquet"]
    assert len(rows_of(again.shards, "train")) == 6


def test_superseded_shards_go_but_what_is_served_and_its_base_stay(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    (root / "2_0.jpg").write_bytes((root / "0_0.jpg").read_bytes())
    build_here(config(root, tmp_path, "build.generate.sketch.params={sigma: 1.5}"))
    given = ["build.duplicates=quarantine", "build.clean=superseded", "build.clean_after_s=0"]
    found = build_here(config(root, tmp_path, *given))
    assert len(found.cleaned) == 6 + 2  # files of shards, and the tables of the earlier manifest
    assert len(list((tmp_path / "set/data").glob("*.parquet"))) == 5  # 3 whole, 2 copies without rows
    again = build_here(config(root, tmp_path, *given))
    assert (again.built, again.cleaned) == (0, []) and len(rows_of(again.shards, "train")) == 4


def test_a_build_deletes_its_own_plans_and_not_those_of_another_build(tmp_path: Path) -> None:
    settings = config(photos(tmp_path / "in", bad=False), tmp_path)
    listed: list[list[str]] = []

    def beside_another(given: Config, root: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
        if not listed:  # a second build of the set begins and ends while this one has made nothing
            listed.append(left(tmp_path / "set"))
            build(settings, out=silent, run=beside_another)
            listed.append(left(tmp_path / "set"))
        yield from run_here(given, root, tasks)

    found = build(settings, out=silent, run=beside_another).shards
    plans = [[name for name in names if name.startswith("plan/")] for names in listed]
    assert plans[0] and plans[0] == plans[1]
    assert not list((tmp_path / "set/plan").iterdir())
    assert len(rows_of(found, "train")) == 6


def test_a_build_that_fails_deletes_its_plans(tmp_path: Path) -> None:
    settings = config(photos(tmp_path / "in", bad=False), tmp_path)

    def failing(given: Config, root: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
        assert list((tmp_path / "set/plan").iterdir())
        raise DataError("the source is gone")

    with pytest.raises(DataError, match="the source is gone"):
        build(settings, out=silent, run=failing)
    assert not list((tmp_path / "set/plan").iterdir())
