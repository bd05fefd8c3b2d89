"""Plans an evaluation from labels and configuration alone, before any work.

`python -m jobs.evaluate` runs it before it starts Ray; its dry run and the doctor run it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reid.config import AUTO_PROTOCOL, Config, override
from reid.config.addresses import shards_uri
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.protocols.choice import ProtocolChoice, choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.evaluate.support import check_support


@dataclass(frozen=True)
class EvaluationPlan:
    """The labels and the protocol that measures them."""

    config: Config  # as given, but never with `auto`
    shards: ShardSet
    protocol: Protocol  # within the evaluated split
    labels: Sequence[SampleLabels]
    note: str | None  # why `auto` chose it, where that is worth a word

    @property
    def lines(self) -> list[str]:
        """Lines for the user."""
        return [self.note] if self.note else []


def plan_evaluation(config: Config) -> EvaluationPlan:
    """Read the labels and choose the protocol.

    Raises DataError for a split without samples, ConfigError when no query has a match.
    """
    settings = config.evaluate
    shards = ShardSet.open(shards_uri(config))
    splits: Sequence[str] = (settings.split,)
    if settings.protocol != AUTO_PROTOCOL:
        splits = get_protocol(settings.protocol).with_split(settings.split).splits
    labels = [SampleLabels.of(s) for split in splits for s in _samples(shards, split)]
    chosen = choose_evaluation(config, labels)
    if settings.protocol == AUTO_PROTOCOL:
        config = override(config, {"evaluate.protocol": chosen.protocol.name})
    return EvaluationPlan(config, shards, chosen.protocol, labels, chosen.note)


def choose_evaluation(config: Config, labels: Sequence[SampleLabels]) -> ProtocolChoice:
    """The protocol within the evaluated split. Raises ConfigError when no query has a match."""
    settings = config.evaluate
    chosen = choose_protocol(settings.protocol, labels)
    chosen = ProtocolChoice(chosen.protocol.with_split(settings.split), chosen.note)
    check_support(chosen, labels, what=f"the {settings.split} split")
    return chosen


def _samples(shards: ShardSet, split: str) -> list[Sample]:
    samples = shards.labels(split)
    if not samples:
        have = ", ".join(shards.manifest.counts)
        raise DataError(f"evaluate.split: {shards.root} has no {split!r} samples; it has {have}.")
    return samples
