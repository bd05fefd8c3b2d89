"""A run records the range and the fourth band of the set that it was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import SCHEMA_VERSION
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError
from reid.train.shard_sensors import sensors_of
from tests.support.tiny_configs import config_of

FIXED = {"range": {"tir": {"fixed": [28_000.0, 31_000.0]}}}
ASKED = "data.range.tir={fixed: [28000, 31000]}"


def built_with(sensors: dict[str, object] | None) -> ShardSet:
    config = {} if sensors is None else {"data": sensors}
    return ShardSet(
        "/sets/thermal",
        Manifest(
            schema_version=SCHEMA_VERSION, dataset="t", fingerprint="f", source="s", generators={}, shards=[],
            counts={}, quarantined=0, config=config,
        ),
    )  # fmt: skip


def test_the_sets_own_settings_count(tmp_path: Path) -> None:
    assert sensors_of(config_of(tmp_path), built_with(FIXED)) == FIXED
    assert sensors_of(config_of(tmp_path, ASKED), built_with(FIXED)) == FIXED
    assert sensors_of(config_of(tmp_path), built_with(None)) == {}, "a set of before they were recorded"


def test_other_settings_than_the_sets_are_refused_with_both_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/sets/thermal was built with the defaults .*, not with {'range'"):
        sensors_of(config_of(tmp_path, ASKED), built_with({}))
    with pytest.raises(ConfigError, match=r"Leave them out to take the set's own"):
        sensors_of(config_of(tmp_path, "data.fourth_band=nir"), built_with(FIXED))
