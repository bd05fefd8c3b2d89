"""Checks of a run's validation from labels alone, before any work; preflight and training call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reid.config import Config, TrainConfig, ValConfig
from reid.config.typed import did_you_mean
from reid.data.shards.identity_list import Identity, IdentityList
from reid.errors import ConfigError
from reid.evaluate.protocols.choice import ProtocolChoice, choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.support import check_support
from reid.runs.identities import LEAST, split_identities

FIELD = "train.val.protocol"
BEST = ("val/mAP", "val/R1")
"""Metrics of every validation; it measures `val/mAP/<pairing>` besides."""
FEW = 10
"""Validation on fewer identities is labelled wherever its numbers are told."""
WITHOUT = ", or set train.val.fraction=0 to train without validation"


def held_out_identities(
    settings: ValConfig, seed: int, train: Sequence[Identity], own: Sequence[Identity]
) -> tuple[IdentityList, list[str]]:
    """The validation identities, and a line if they are more than the fraction's share.

    Raises ConfigError when too few are left.
    """
    if own or not settings.fraction:
        return IdentityList.of(own), []
    _, held_out = split_identities(train, settings.fraction, seed)
    share = round(len(train) * settings.fraction)
    if len(held_out) == share:
        return held_out, []
    return held_out, [
        f"validation: train.val.fraction={settings.fraction:g} of {len(train)} training identities is "
        f"{share}, and fewer than {LEAST} cannot be distinguished: {LEAST} are held out."
    ]


def check_early_stopping(settings: TrainConfig, validates: bool) -> None:
    """Raise ConfigError for `train.stop_early` in a training without validations.

    >>> check_early_stopping(TrainConfig(), validates=False)
    """
    if settings.stop_early is not None and not validates:
        raise ConfigError(
            "train.stop_early: needs validations; set train.val.fraction above 0, or build a set with a val "
            "split."
        )


def validation_notes(identities: int) -> list[str]:
    """A line about a validation on few identities.

    >>> validation_notes(12), len(validation_notes(4))
    ([], 1)
    """
    if identities >= FEW:
        return []
    return [
        f"validation: on {identities} identities only; with fewer than {FEW} its numbers are rough, and so "
        "are the choice of the best epoch and the calibration. Raise train.val.fraction, or bring more."
    ]


def of_few(identities: int | float | None) -> str:
    """What a number of the validation is followed by: "" unless it is of few identities.

    >>> of_few(4), of_few(40)
    (' (of 4 identities only)', '')
    """
    return f" (of {identities:g} identities only)" if identities is not None and identities < FEW else ""


def choose_validation(name: str, labels: Sequence[SampleLabels]) -> ProtocolChoice:
    """The protocol that `train.val.protocol` names, or that the held-out rows' labels choose."""
    return choose_protocol(name, labels, FIELD)


def check_validation(
    chosen: ProtocolChoice, labels: Sequence[SampleLabels], pairings: Sequence[Pairing] | None = None
) -> None:
    """Raise ConfigError when no held-out row has a match; `pairings`: those of a model, where it is known."""
    who = f"the {len({(row.dataset, row.pid) for row in labels})} validation identities"
    check_support(chosen, labels, pairings, FIELD, who, WITHOUT)


def validation_of(settings: ValConfig, labels: Sequence[SampleLabels]) -> ProtocolChoice:
    """The protocol for held-out rows, which are on both sides. Raises ConfigError like `check_validation`."""
    labels = [without_roles(row) for row in labels]
    chosen = choose_validation(settings.protocol, labels)
    check_validation(chosen, labels)
    return chosen


def without_roles(row: SampleLabels) -> SampleLabels:
    """The row without query or gallery roles, which training rows do not have."""
    return replace(row, roles=None)


def check_best(config: Config, known: Sequence[str]) -> None:
    """Raise ConfigError for a `train.checkpoint.best` that no validation measures."""
    best = config.train.checkpoint.best
    if best not in known:
        raise ConfigError(
            f"train.checkpoint.best: no validation measures {best!r}.{did_you_mean(best, list(known))}"
        )
