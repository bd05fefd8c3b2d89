"""A search is refused for values that no training takes, by the field of the space that they stand in."""

from __future__ import annotations

import pytest

from reid.errors import AnyReIDError, ConfigError, TrainingError
from reid.preflight import preflight
from reid.preflight.search_space import check_space
from tests.support.sets.labelled_rows import listed, rows
from tests.support.tiny_configs import config_of

DATA = listed(rows(range(8)))
LR = "train.optim.lr: {loguniform: [1e-4, 1e-2]}"


def told(space: str, *overrides: str) -> list[str]:
    config = config_of("/w", f"tune.space={{{space}}}", "train.val.fraction=0.25", *overrides)
    return preflight(config, "tune", DATA)


def test_a_space_of_every_kind_is_accepted() -> None:
    kinds = (
        LR,
        "train.optim.name: {choice: [adam, adamw]}",
        "train.batch.instances: {randint: [2, 5]}",
        "train.optim.weight_decay: {uniform: [0, 0.1]}",
    )
    check_space(config_of("/w", f"tune.space={{{', '.join(kinds)}}}"))
    assert len(told(", ".join(kinds))) == 1  # few validation identities


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("{}", ["tune.space: empty"]),
        ("{train.optim.lrr: {uniform: [0.1, 0.2]}}", ["train.optim.lrr", "Did you mean 'lr'?"]),
        ("{train.optim.lr: {uniform: [0.2, 0.1]}}", ["tune.space.train.optim.lr.uniform", "not below"]),
        ("{train.optim.lr: {uniform: [0.1]}}", ["tune.space.train.optim.lr.uniform", "expected 2"]),
        ("{train.optim.lr: {choice: []}}", ["tune.space.train.optim.lr.choice", "at least one"]),
        (
            "{train.optim.lr: {uniform: [0.1, 0.2], choice: [1]}}",
            ["tune.space.train.optim.lr", "exactly one"],
        ),
        ("{train.optim.name: {choice: [adam, sgd]}}", ["train.optim.name", "'sgd'"]),
        ("{train.optim.lr: {uniform: [0.1, fast]}}", ["train.optim.lr", "'fast'"]),
        ("{train.optim.lr: {uniform: [-0.1, 0.1]}}", ["train.optim.lr", "-0.1"]),
        ("{train.optim.weight_decay: {loguniform: [0, 0.1]}}", ["weight_decay.loguniform", "above 0"]),
        ("{train.batch.instances: {uniform: [2, 5]}}", ["train.batch.instances", "integer"]),
        ("{train.optim.name: {uniform: [adam, adamw]}}", ["train.optim.name.uniform", "two numbers"]),
        ("{train.optim.lr: {normal: [0, 1]}}", ["tune.space", "choice"]),
        ("{train.epochs: {choice: [1, 2]}}", ["tune.space.train.epochs", "tune.epochs"]),
        ("{build.rows_per_shard: {choice: [4, 8]}}", ["build.rows_per_shard", "no training depends on it"]),
        ("{evaluate.batch_size: {randint: [4, 8]}}", ["evaluate.batch_size", "no training depends on it"]),
    ],
)
def test_a_space_that_cannot_work_names_the_field(space: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_space(config_of("/w", f"tune.space={space}"))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("space", "kind", "words"),
    [
        ("train.batch.identities: {choice: [2, 16]}", TrainingError, "identities.choice: 16: train.batch"),
        ("train.batch.identities: {randint: [2, 20]}", TrainingError, "identities.randint: 19: train.batch"),
        (
            "model.fusion: {choice: [mean, concat]}",
            ConfigError,
            "model.fusion.choice: 'concat': model.fusion",
        ),
        ("train.val.fraction: {choice: [0.25, 0.95]}", ConfigError, "fraction.choice: 0.95: train.val"),
    ],
)
def test_a_value_that_no_training_takes_is_named_with_its_field(
    space: str, kind: type[AnyReIDError], words: str
) -> None:
    with pytest.raises(kind, match=r"^tune\.space\.") as caught:
        told(space)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("data.modalities: {choice: [rgb, rgb+text]}", "'rgb+text': data.modalities: no training row"),
        ("train.batch.sampler: {choice: [pk, cross]}", "'cross': train.batch.sampler: cross draws visible"),
    ],
)
def test_a_value_that_the_set_lacks_is_named_with_its_field(space: str, words: str) -> None:
    given = (f"tune.space={{{space}}}", "train.val.fraction=0.25", "data.modalities=rgb", "build.generate={}")
    with pytest.raises(ConfigError, match=r"^tune\.space\.") as caught:
        preflight(config_of("/w", *given), "tune", listed(rows(range(8), modalities="rgb")))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "fraction", "words"),
    [
        ("val/mAP", 0, "nobody is held out for validation"),
        ("val/mAPP", 0.25, "known: val/mAP"),
        ("val/mAP/nir->tir", 0.25, "val/mAP/nir->rgb"),
        ("accuracy", 0.25, "'accuracy' is not reported"),
    ],
)
def test_a_metric_that_no_trial_reports_is_refused(metric: str, fraction: float, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^tune\.metric") as caught:
        told(LR, f"tune.metric={metric}", f"train.val.fraction={fraction}")
    assert words in str(caught.value)


@pytest.mark.parametrize("metric", ["val/R1", "val/mAP/nir->rgb", "loss", "loss/id"])
def test_a_metric_that_trials_report_is_accepted(metric: str) -> None:
    told(LR, f"tune.metric={metric}")


def test_a_value_that_no_trial_has_is_no_fault() -> None:
    told("train.batch.identities: {choice: [2, 4]}", "train.batch.identities=64")
    told("train.batch.identities: {randint: [2, 5]}", "train.batch.identities=64")
    told("train.val.fraction: {choice: [0.25, 0.5]}", "train.val.fraction=0")
    told(LR, "train.workers=2", "train.batch.identities=3")  # a trial is one process


def test_fields_that_only_fit_together_are_tried_together() -> None:
    both = "model.fusion: {choice: [concat]}, data.modalities: {choice: [rgb+nir]}"
    assert len(told(both)) == 1  # few validation identities


def test_values_that_do_not_fit_each_other_are_named() -> None:
    space = "train.batch.identities: {choice: [4]}, train.val.fraction: {choice: [0.75]}"
    with pytest.raises(TrainingError, match=r"^tune\.space with .*train\.val\.fraction=0\.75: train\.batch"):
        told(space, "train.batch.identities=2")
