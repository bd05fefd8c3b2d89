"""Fields say where they are declared whether they change what is learnt; names of runs follow."""

from __future__ import annotations

import pytest
from pydantic import Field

from reid.config import TrainConfig
from reid.config.addresses import run_fingerprint
from reid.config.results import SAME_RESULT, differences, result_settings
from reid.config.typed import Section
from tests.support.tiny_configs import config_of


class Inner(Section):
    """A section with a field of each kind."""

    rate: float = 0.1


class Outer(Section):
    """Sections in every place that they can have."""

    many: tuple[TrainConfig, ...] = (TrainConfig(workers=3),)
    named: dict[str, Inner] = Field({"a": Inner()})


def test_a_marked_field_is_left_out_at_every_depth() -> None:
    settings = result_settings(Outer())
    assert settings["named"] == {"a": {"rate": 0.1}}
    (train,) = settings["many"]
    assert "workers" not in train
    assert "prefetch_mib" not in train["batch"]
    assert train["batch"]["identities"] == 8
    assert SAME_RESULT == {"changes_result": False}


@pytest.mark.parametrize(
    "same",
    [
        "train.workers=2",
        "train.classifier.sharded=true",
        "train.batch.prefetch_threads=9",
        "data.cache_mib=1",
    ],
)
def test_where_and_how_fast_is_no_part_of_a_name(same: str) -> None:
    assert run_fingerprint(config_of("/w", same), "data") == run_fingerprint(config_of("/w"), "data")


@pytest.mark.parametrize(
    "other", ["seed=1", "train.epochs=9", "train.optim.lr=1", "model.fusion=concat", "data.height=64"]
)
def test_what_is_learnt_is_part_of_a_name(other: str) -> None:
    name = run_fingerprint(config_of("/w"), "data")
    assert run_fingerprint(config_of("/w", other), "data") != name
    assert run_fingerprint(config_of("/w"), "other data") != name
    assert run_fingerprint(config_of("/w"), "data", "other code") != name


def test_a_name_holds_the_batch_and_the_rates_that_the_rules_come_to() -> None:
    rules = (
        "train.batch.identities={per_rank: 8}",
        "train.optim={lr: 1.0e-4, scale_lr: linear, scale_lr_from: 8}",
    )
    names = {n: run_fingerprint(config_of("/w", *rules, f"train.workers={n}"), "data") for n in (0, 1, 2, 64)}
    assert names[0] == names[1]
    assert len({*names.values()}) == 3
    spelled = config_of("/w", "train.batch.identities=16", "train.optim.lr=2.0e-4", "train.workers=2")
    assert names[2] == run_fingerprint(spelled, "data")
    elastic = config_of("/w", *rules, "train.workers={min: 1, max: 2}")
    assert run_fingerprint(elastic, "data") not in names.values()


def test_differences_name_fields_in_words() -> None:
    ours, theirs = {"train": {"epochs": 60, "lr": 1}}, {"train": {"epochs": 45, "old": True}}
    assert [str(d) for d in differences(ours, theirs)] == [
        "train.epochs: 45 there, 60 here",
        "train.lr: None there, 1 here",
        "train.old: True there, None here",
    ]
