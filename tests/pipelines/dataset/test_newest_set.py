"""Builds say which set of a folder is the newest, and never write a set over the folder of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dataset.build import describe_build
from reid.config import Config, override
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError
from reid.storage.latest import LATEST
from tests.support.sets.photos import build_here, config, photos


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """Without a place of the set's own."""
    given = config(photos(tmp_path / "in"), tmp_path / "work", "build.max_bad_fraction=0.5")
    return override(given, {"data.shards": None})


def test_the_last_built_set_is_the_newest_also_when_nothing_was_to_do(settings: Config) -> None:
    first = build_here(settings).shards
    second = build_here(override(settings, {"build.generate.sketch.params.sigma": 3.0})).shards
    parent = Path(first.root).parent
    assert parent == Path(second.root).parent and first.root != second.root
    assert ShardSet.open(str(parent)).root == second.root
    again = build_here(settings)
    assert again.built == 0 and ShardSet.open(str(parent)).root == first.root
    (parent / LATEST).unlink()
    assert ShardSet.open(second.root).root == second.root


def test_beside_a_place_of_the_user_s_own_choice_nothing_is_written(settings: Config, tmp_path: Path) -> None:
    build_here(override(settings, {"data.shards": str(tmp_path / "mine" / "set")}))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["set"]


def test_a_folder_of_sets_is_no_place_for_a_set(settings: Config) -> None:
    parent = Path(build_here(settings).shards.root).parent
    with pytest.raises(ConfigError, match=r"data\.shards=.*a folder of built sets"):
        describe_build(override(settings, {"data.shards": str(parent)}))
