"""Checks of a training run from labels and configuration alone, before any work.

`python -m jobs.train` runs them before it starts Ray; its dry run and the doctor run them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reid.config import Config, ValConfig
from reid.config.addresses import shards_uri
from reid.data.shards.shard_set import Identity, ShardSet
from reid.evaluate.protocols.choice import ProtocolChoice, check_name, choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.support import check_support
from reid.runs.identities import LEAST, split_identities

FIELD = "train.val.protocol"
WITHOUT = ", or set train.val.fraction=0 to train without validation"


def check_run(config: Config) -> list[str]:
    """Lines for the user about a run's validation. Raises ConfigError when it cannot work.

    Reads the labels of the configured shard set; raises DataError when there is none.
    """
    check_name(config.train.val.protocol, FIELD)
    shards = ShardSet.open(shards_uri(config))
    train, own = list(shards.identities("train")), list(shards.identities("val"))
    held_out, notes = held_out_identities(config.train.val, config.seed, train, own)
    if not held_out:
        return notes
    wanted = set(held_out)
    rows = (s for s in shards.light("val" if own else "train") if s.identity in wanted)
    chosen = validation_of(config.train.val, [SampleLabels.of(s) for s in rows])
    return [*notes, *([f"validation: {chosen.note}"] if chosen.note else [])]


def held_out_identities(
    settings: ValConfig, seed: int, train: Sequence[Identity], own: Sequence[Identity]
) -> tuple[list[Identity], list[str]]:
    """The validation identities, and a line if they are more than the fraction's share.

    Raises ConfigError when too few are left.
    """
    if own or not settings.fraction:
        return list(own), []
    _, held_out = split_identities(train, settings.fraction, seed)
    share = round(len(train) * settings.fraction)
    if len(held_out) == share:
        return held_out, []
    return held_out, [
        f"validation: train.val.fraction={settings.fraction:g} of {len(train)} training identities is "
        f"{share}, and fewer than {LEAST} cannot be distinguished: {LEAST} are held out."
    ]


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
