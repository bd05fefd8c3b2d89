"""Two ranks go on from the middle of an epoch to the bit, and decide alike about a step of one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reid.config import Config
from tests.support.models import resumed_ranks as ranks
from tests.support.models.rank_comparison import same, weights
from tests.support.models.spawned_ranks import spawn_ranks

pytestmark = pytest.mark.slow
Configure = Callable[..., Config]

MODEL: dict[str, Any] = {
    "name": "mfrnet",
    "tower": {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16},
    "frm": {"hidden": 12, "router": {"score": "cosine", "noise": 1.0, "dim": 8}},
}


@pytest.mark.parametrize("shared", [True, False], ids=["global statistics", "local statistics"])
def test_two_ranks(shared: bool, configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "train.checkpoint.every_steps=1",
        "train.nonfinite.policy=skip",
        f"train.global_statistics={str(shared).lower()}",
        "train.epochs=2",
        model=MODEL,
    )
    spawn_ranks(ranks.run_rank, (str(tmp_path), config.model_dump_json()), ranks.WORLD)
    found = [torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in range(ranks.WORLD)]
    assert found[0]["places"] == found[1]["places"]
    assert found[0]["by the minute"] == found[1]["by the minute"]
    assert "epoch-0000-step-000002" in found[0]["by the minute"]  # with a report
    for place in ranks.PLACES:
        assert same(weights(tmp_path / place), weights(tmp_path / "whole")), place
    record = tmp_path / "skipped" / "nonfinite" / "epoch-0001-step-000000" / "repro.json"
    assert [r["rank"] for r in json.loads(record.read_text())["ranks"]] == [0, 1]
    assert len(found[0]["notices"]) == 1 and not found[1]["notices"]  # the first rank tells, once
    assert all(bool(t.isfinite().all()) for t in weights(tmp_path / "skipped").values())
