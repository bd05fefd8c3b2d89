"""Validation on two ranks: the numbers of one, and each rank reads the pictures of its own row groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reid.config import Config
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.train.validation.held_out import HeldOut
from tests.support.models import validation_ranks as ranks
from tests.support.models.rank_comparison import MEAN_WITH_TEXT
from tests.support.models.spawned_ranks import spawn_ranks

Configure = Callable[..., Config]


def spawned(config: Config, folder: Path, protocols: list[str]) -> list[dict[str, Any]]:
    """What each rank found."""
    arguments = (str(folder), config.model_dump_json(), protocols)
    spawn_ranks(ranks.run_rank, arguments, ranks.WORLD)
    return [json.loads((folder / f"rank{r}.json").read_text()) for r in range(ranks.WORLD)]


@pytest.mark.slow
def test_two_ranks_measure_what_one_does_and_share_the_pictures(
    configure: Configure, tmp_path: Path, write_shards: Callable[..., ShardSet], sample: Callable[..., Sample]
) -> None:
    rows = [sample(pid, number) for pid in range(8) for number in range(3)]
    taken = [replace(r, labels=replace(r.labels, camid=0)) for r in rows]  # by one camera
    shards = write_shards(tmp_path / "shards", taken, rows_per_group=3)
    config = configure("train.val.fraction=0.5", *MEAN_WITH_TEXT, f"data.shards={shards.root}")
    names = ["all", "roles", "cross_camera"]
    one = {name: ranks.validated(config, name) for name in names}
    both = spawned(config, tmp_path, names)
    for name in names[:2]:
        for rank in both:
            assert rank[name]["metrics"] == pytest.approx(one[name]["metrics"], abs=1e-6)
        shares = [{tuple(place) for place in rank[name]["read"]} for rank in both]
        assert len(one[name]["read"]) == 4  # four identities, one a row group, each read once
        assert [len(share) for share in shares] == [2, 2] and not shares[0] & shares[1]
    for rank in both:  # what only the first rank can tell is raised on every rank
        assert rank["cross_camera"] == one["cross_camera"]
        assert "no validation query has a match" in rank["cross_camera"]["error"]


def test_only_row_groups_of_held_out_identities_are_looked_at(
    tmp_path: Path, write_shards: Callable[..., ShardSet], sample: Callable[..., Sample]
) -> None:
    rows = [sample(pid, camid) for pid in range(6) for camid in (2, 5)]
    shards = write_shards(tmp_path / "shards", rows, rows_per_group=2)
    looked: list[int] = []
    plain = shards.light_group

    def counted(group: Any) -> list[Sample]:
        looked.append(group.index)
        return plain(group)

    shards.light_group = counted  # type: ignore[method-assign]
    held_out = HeldOut(shards, [("tiny", 1), ("tiny", 4)])
    assert [row.pid for row in held_out.labels] == [1, 1, 4, 4]
    assert held_out.identities == 2
    assert looked == [1, 4]
