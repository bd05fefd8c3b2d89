"""What a search would refuse: values that no training could take, and a metric that no trial reports."""

from __future__ import annotations

from collections.abc import Callable

from reid.config import Config
from reid.errors import AnyReIDError, ConfigError
from reid.preflight.labelled_data import LabelledData
from reid.preflight.search_space import check_space, drawn_configs, possible_trial
from reid.preflight.training import check_settings, check_training
from reid.train.validation.validate import validation_pairings

REPORTED = ("epoch", "step", "loss", "lr", "rows_per_s", "seconds")
"""Metrics of every epoch; those below loss/ and stat/ depend on the model."""
VALIDATED = ("val/mAP", "val/R1", "val/identities")
"""Metrics of an epoch with validation, besides val/mAP/<pairing>."""


def check_search_settings(config: Config) -> None:
    """Check the space and each of its values without labels. Raises ConfigError naming the field."""
    _each_value(config, check_settings)


def check_search(config: Config, data: LabelledData) -> list[str]:
    """Check each value of the space against the labels. Returns lines for the user, as a training does.

    Raises what a training with that value would, naming the field of the space.
    """
    notes: list[list[str]] = []
    _each_value(config, lambda drawn: notes.append(check_training(drawn, data)))
    check_metric(possible_trial(config)[0], data)
    return notes[0]


def check_metric(config: Config, data: LabelledData) -> None:
    """Raise ConfigError for a `tune.metric` that no trial would report."""
    metric = config.tune.metric
    if metric.startswith(("loss/", "stat/")) or metric in REPORTED:
        return
    validated = bool(data.identities("val")) or config.train.val.fraction > 0
    if metric.startswith("val/") and not validated:
        raise ConfigError(
            f"tune.metric: {metric!r} is not reported: nobody is held out for validation. Set "
            f"train.val.fraction above 0, or compare by another metric: {', '.join(REPORTED)}."
        )
    split = "val" if data.identities("val") else "train"
    present = {m for m in data.modalities(split) if m in config.data.modalities}
    pairings = validation_pairings(check_settings(config), present, config.train.val.gallery)
    known = [*VALIDATED, *(f"val/mAP/{p.name}" for p in pairings)]
    if metric not in known:
        raise ConfigError(
            f"tune.metric: {metric!r} is not reported; known: {', '.join([*known, *REPORTED])}, and the "
            "model's own below loss/ and stat/."
        )


def _each_value(config: Config, check: Callable[[Config], object]) -> None:
    """Check one trial that is possible, then each value of the space in it."""
    check_space(config)
    trial, changed = possible_trial(config)
    told = ", ".join(f"{field}={value}" for field, value in changed.items())
    checked: list[tuple[object, ...]] = []
    for where, drawn in [(f"tune.space with {told}" if told else "", trial), *drawn_configs(trial)]:
        if (relevant := _relevant(drawn)) in checked:
            continue
        try:
            check(drawn)
        except AnyReIDError as error:
            raise type(error)(f"{where}: {error}" if where else str(error)) from None
        checked.append(relevant)


def _relevant(config: Config) -> tuple[object, ...]:
    """What the checks look at: learning rates and the like are not among it."""
    train = config.train
    model = config.data, config.model, train.optim.groups, train.init_from
    return *model, train.batch, train.augment.geometry, train.val, config.seed
