"""Plans an evaluation from labels and configuration alone, before any work.

`python -m jobs.evaluate` runs it before it starts Ray; its dry run and the doctor run it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reid.config import AUTO_PROTOCOL, Config, override
from reid.config.addresses import shards_uri
from reid.data.shards.schema import SPLITS
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.protocols.choice import ProtocolChoice, choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import LabelColumns
from reid.evaluate.protocols.label_table import LabelTable
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.evaluate.support import check_support


@dataclass(frozen=True)
class EvaluationPlan:
    """The labels and the protocol that measures them."""

    config: Config  # as given, but never with `auto`
    shards: ShardSet
    protocol: Protocol  # within the evaluated split
    labels: LabelTable
    note: str | None  # why `auto` chose it, where that is worth a word

    @property
    def lines(self) -> list[str]:
        """Lines for the user."""
        return [self.note] if self.note else []


def plan_evaluation(config: Config) -> EvaluationPlan:
    """Read the labels and choose the protocol.

    Raises DataError for a split without samples, ConfigError when no query has a match.
    """
    shards = ShardSet.open(shards_uri(config))
    labels = read_labels(shards, evaluated_splits(config))
    chosen = choose_evaluation(config, labels)
    if config.evaluate.protocol == AUTO_PROTOCOL:
        config = override(config, {"evaluate.protocol": chosen.protocol.name})
    return EvaluationPlan(config, shards, chosen.protocol, labels, chosen.note)


def evaluated_splits(config: Config) -> Sequence[str]:
    """The splits whose samples the protocol uses. Raises ConfigError for an unknown protocol."""
    settings = config.evaluate
    if settings.protocol == AUTO_PROTOCOL:
        return (settings.split,)
    return get_protocol(settings.protocol).with_split(settings.split).splits


def choose_evaluation(config: Config, labels: Sequence[SampleLabels]) -> ProtocolChoice:
    """The protocol within the evaluated split. Raises ConfigError when no query has a match."""
    settings = config.evaluate
    chosen = choose_protocol(settings.protocol, labels)
    chosen = ProtocolChoice(chosen.protocol.with_split(settings.split), chosen.note)
    check_support(chosen, labels, what=f"the {settings.split} split")
    return chosen


def read_labels(shards: ShardSet, splits: Iterable[str], field: str = "evaluate.split") -> LabelTable:
    """The labels of some splits, read by column. Raises DataError for one without samples."""
    columns = LabelColumns()
    for split in splits:
        rows = 0
        for table in shards.label_tables(split):
            columns.add(table)
            rows += table.num_rows
        if not rows:
            raise no_rows(field, shards.root, split, [s for s in SPLITS if any(shards.label_tables(s))])
    return columns.table()


def no_rows(field: str, where: str, split: str, have: Sequence[str]) -> DataError:
    """The error for a split that `field` names and the set does not have."""
    return DataError(f"{field}: {where} has no {split!r} samples; it has {', '.join(have) or 'none'}.")
