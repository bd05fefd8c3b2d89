"""A build that dies anywhere loses nothing and doubles nothing: the next one ends where it would have."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from reid.data.shards.manifest import MANIFEST
from reid.data.shards.shard_set import ShardSet
from tests.support.places import ROOT
from tests.support.sets.kills import dies
from tests.support.sets.photos import build_here, config, photos, rows_of


def rows(shards: ShardSet) -> list[str]:
    found = [s.labels.sample_id for split in ("train", "test") for s in rows_of(shards, split)]
    assert len(found) == len(set(found))
    return found


@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("duplicates", ["warn", "quarantine"])
def test_a_build_killed_at_any_write_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, duplicates: str
) -> None:
    root = photos(tmp_path / "in")
    (root / "2_0.jpg").write_bytes((root / "0_0.jpg").read_bytes())
    given = [f"build.duplicates={duplicates}", "build.clean_after_s=0"]
    whole = build_here(config(root, tmp_path / "whole", *given)).shards
    expected = rows(whole)
    writes = 0
    while True:
        writes += 1
        settings = config(root, tmp_path / str(writes), *given)
        if dies(settings, monkeypatch, writes, when) is not None:
            break
        for plan in (tmp_path / str(writes) / "set/plan").glob("*"):
            os.utime(plan, (time.time() - 8 * 86400,) * 2)  # a plan may be in use for a week
        done = build_here(settings)
        assert (done.shards.fingerprint, rows(done.shards)) == (whole.fingerprint, expected)
        assert done.shards.quarantine() == whole.quarantine()
        files = {p.name for p in Path(done.shards.root).rglob("*") if p.is_file()}
        assert files == {p.name for p in Path(whole.root).rglob("*") if p.is_file()}, "no leftovers either"
        assert build_here(settings).built == 0
    assert writes - 1 == len([*(Path(whole.root) / "data").iterdir()]) + 5, "each was the last one once"


def test_a_build_killed_at_every_write_in_turn_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in")
    whole = build_here(config(root, tmp_path / "whole")).shards
    settings = config(root, tmp_path / "one")
    tries = 1
    while tries < 20 and dies(settings, monkeypatch, 4, "before") is None:  # one shard further at each try
        tries += 1
    assert tries == len([*(Path(whole.root) / "data").glob("*.json")]) + 2, "once with its tables alone"
    assert rows(ShardSet.open(f"{tmp_path}/one/set")) == rows(whole)


def test_a_killed_rebuild_leaves_the_published_set_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in")
    first = build_here(config(root, tmp_path)).shards
    before = rows(first)
    change = "build.generate.sketch.params={sigma: 4.0}"
    for at in range(1, 12):
        dies(config(root, tmp_path, change), monkeypatch, at, "before")
        found = ShardSet.open(first.root)
        if found.fingerprint != first.fingerprint:
            break
        assert rows(found) == before
    assert build_here(config(root, tmp_path, change)).shards.fingerprint != first.fingerprint


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_build_killed_at_random_moments_goes_on(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", identities=20)
    given = [
        "build.rows_per_shard=2",
        "build.generate.sketch.generator=sketch_mix",
        "build.generate.sketch.params={}",
    ]
    given += ["build.concurrency=2", "build.max_bad_fraction=0.9", "build.clean_after_s=0"]
    whole = build_here(config(root, tmp_path / "whole", *given)).shards
    settings = config(root, tmp_path, *given)
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "jobs.build", "--config", str(tmp_path / "build.yaml")]
    chance, kills = random.Random(5), 0
    data = tmp_path / "set/data"
    for _ in range(4):
        with (tmp_path / "log.txt").open("wb") as log:
            child = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
            )  # fmt: skip
        there = len(list(data.glob("*"))) if data.exists() else 0
        wanted = there + chance.randrange(2, 10)
        while child.poll() is None and not (data.exists() and len(list(data.glob("*"))) >= wanted):
            time.sleep(0.003)
        if child.poll() is not None:
            assert child.returncode == 0, (tmp_path / "log.txt").read_text()
            break
        time.sleep(chance.random() * 0.05)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        kills += 1
        time.sleep(1.5)  # Ray's own processes notice and go
    else:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    assert kills >= 2
    done = ShardSet.open(str(tmp_path / "set"))
    assert done.fingerprint == whole.fingerprint
    assert rows(done) == rows(whole)
    assert done.quarantine() == whole.quarantine()
    assert [s.sha256 for s in done.manifest.shards] == [s.sha256 for s in whole.manifest.shards]
    final = build_here(settings)
    assert final.built == 0
    names = {p.name for p in data.iterdir()}
    assert names == {p.name for p in (Path(whole.root) / "data").iterdir()}, "what was half-done is deleted"
    assert (tmp_path / "set" / MANIFEST).is_file()
