"""`auto`: how many GPUs each process gets, decided from the cluster before any starts, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.placement.gpus import gpus_each
from pipelines.placement.resources import Cluster, NodeKind
from reid.errors import ConfigError
from tests.support.tiny_configs import config_of

NONE = Cluster([{"CPU": 8.0}], [])
TWO = Cluster([{"CPU": 8.0, "GPU": 2.0}], [])


def each(cluster: Cluster, work: Any, *words: str) -> tuple[float, list[str]]:
    lines: list[str] = []
    found = gpus_each(work, config_of(Path("x"), "device=auto", *words), lines.append, cluster)
    return found, lines


@pytest.mark.parametrize(
    ("work", "words", "gpus"),
    [
        ("train", ["train.workers=2"], 1),
        ("train", ["train.workers={min: 1, max: 8}"], 1),
        ("tune", [], 1),
        ("embed", ["evaluate.actors=1"], 1),
        ("embed", ["evaluate.actors=4"], 0.5),
        ("serve", ["serve.replicas=3"], 0.5),
    ],
)
def test_what_is_there_is_used_and_said(work: str, words: list[str], gpus: float) -> None:
    found, lines = each(TWO, work, *words)
    assert found == gpus
    assert len(lines) == 1 and lines[0].startswith(f"{work}: {gpus:g} of 2 GPUs for each process (")
    assert each(NONE, work, *words) == (0, [])
    assert each(TWO, work, *words, "device=cpu") == (0, [])


def test_a_number_is_taken_as_it_is() -> None:
    assert each(NONE, "train", "train.workers=1", "train.gpus_per_worker=0.5") == (0.5, [])


@pytest.mark.parametrize(
    ("work", "field"),
    [
        ("train", "train.gpus_per_worker"),
        ("tune", "train.gpus_per_worker"),
        ("embed", "evaluate.gpus_per_actor"),
        ("serve", "serve.gpus_per_replica"),
    ],
)
def test_a_number_that_contradicts_the_device_is_refused(work: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"device=cpu, but {field}=0.5. Set {field} to auto or 0"):
        each(TWO, work, "device=cpu", f"{field}=0.5")
    with pytest.raises(ConfigError, match=f"device=cuda, but {field}=0. Set {field} to auto or above 0"):
        each(TWO, work, "device=cuda", f"{field}=0")
    assert each(TWO, work, "device=cuda", f"{field}=1") == (1, [])


def test_only_the_work_that_uses_a_number_refuses_it() -> None:
    trained_on_gpus = ("device=cpu", "train.gpus_per_worker=1")
    assert each(TWO, "embed", "evaluate.actors=1", *trained_on_gpus) == (0, [])


def test_work_in_this_process_asks_the_cluster_for_nothing() -> None:
    assert each(TWO, "embed", "evaluate.actors=0") == (0, [])
    assert each(TWO, "train", "train.workers=0") == (0, [])


def test_ranks_do_not_share_gpus_unasked() -> None:
    with pytest.raises(ConfigError, match=r"train\.gpus_per_worker=auto: train\.workers=4.* 2 GPUs.*0\.5"):
        each(TWO, "train", "train.workers=4")


def test_gpus_that_were_insisted_on_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"device=cuda: the cluster has no GPU"):
        each(NONE, "train", "train.workers=1", "device=cuda")


def test_gpus_that_an_autoscaler_declares_count_and_unknown_ones_are_told() -> None:
    declared = Cluster([], [], kinds=[NodeKind({"CPU": 8, "GPU": 1}, 4)])
    assert each(declared, "train", "train.workers=4")[0] == 1
    found, lines = each(Cluster([], [], autoscales=True), "train", "train.workers=4")
    assert found == 0 and "train.gpus_per_worker=1 asks for one each" in lines[0]
