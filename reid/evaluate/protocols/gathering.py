"""Queries that hang on one part, with companions from other samples of the identity; by column.

Drawing needs no state: a companion is the candidate whose hash together with the anchor item's and the seed's
is lowest. So the draw of an anchor item is the same in every subset, whatever else the data hold, and a
candidate that goes changes only the queries that had it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reid.config.protocols.companions import CompanionsConfig
from reid.config.protocols.query_names import ALL, AskedQuery
from reid.errors import UsageError
from reid.evaluate.protocols.item_table import ABSENT, ItemTable, PartColumn
from reid.evaluate.protocols.items import ProtocolQuery
from reid.evaluate.protocols.label_table import Ints, LabelTable, Mask
from reid.evaluate.protocols.string_codes import string_codes
from reid.evaluate.several_samples import check_views
from reid.modality import Modality

PAIRS = 2**22
"""Pairs of an anchor item and a candidate that are looked at together."""
Codes = npt.NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, eq=False)
class PartItems:
    """What may become a part: samples of the query side with a modality, with text each caption."""

    modality: Modality
    rows: Ints  # (n,) samples
    caption: Ints | None  # (n,) for text

    def take(self, places: Ints) -> PartItems:
        """Some of them."""
        return PartItems(
            self.modality, self.rows[places], None if self.caption is None else self.caption[places]
        )

    def codes(self, table: LabelTable) -> Codes:
        """(n,) uint64: what each draws with; of its name and caption alone."""
        own = string_codes(table.names.take(pa.array(self.rows)))
        if self.caption is None:
            return own
        with np.errstate(over="ignore"):
            return _mixed(own + _STEP * (self.caption.astype(np.uint64) + np.uint64(1)))


def part_items(table: LabelTable, mine: Mask, modality: Modality, each_caption: bool) -> PartItems:
    """The items of a modality among the samples of a side, in the order of the labels."""
    rows = np.flatnonzero(mine & table.having((modality,)))
    if modality is not Modality.TEXT:
        return PartItems(modality, rows, None)
    number = table.captions[rows].astype(np.int64) if each_caption else np.ones(len(rows), np.int64)
    first = np.cumsum(number) - number
    return PartItems(
        modality, np.repeat(rows, number), np.arange(int(number.sum())) - np.repeat(first, number)
    )


@dataclass(frozen=True, eq=False)
class Gathered:
    """What accompanies each anchor item of a row, before those that lack something are left out."""

    asked: AskedQuery
    anchors: PartItems  # n items
    found: Mapping[Modality, PartItems]  # what may become a part
    picks: Mapping[Modality, Ints]  # (n, K) places in `found`, ABSENT where there are fewer

    def queries(self, table: LabelTable) -> tuple[ItemTable[ProtocolQuery], int]:
        """The queries, and how many anchor items lack companions.

        Raises UsageError for more samples than are averaged.
        """
        numbers = dict(self.asked.samples)
        columns: list[PartColumn] = []
        whole = np.ones(len(self.anchors.rows), bool)
        samples = []
        for modality in self.asked.subset:
            own = modality is self.anchors.modality
            picks = self.picks.get(modality, np.zeros((len(whole), 0), np.int64))
            count = (picks != ABSENT).sum(axis=1) + own
            whole &= count >= max(1, numbers.get(modality, 1))
            samples.append(count)
            columns += [_column(self.found[modality], picks[:, k]) for k in range(picks.shape[1])]
        kept = np.flatnonzero(whole)
        if len(kept):
            counts = np.stack(samples, axis=1)[kept]
            worst = int(counts.prod(axis=1).argmax())
            try:
                check_views(counts[worst].tolist())
            except UsageError as error:
                name = table.names[int(self.anchors.rows[kept[worst]])].as_py()
                raise UsageError(f"{self.asked.name}, query of {name!r}: {error}") from None
        anchors = self.anchors.take(kept)
        queries = ItemTable[ProtocolQuery](
            "query",
            table,
            (self.asked.subset,),
            anchors.rows,
            caption=anchors.caption,
            anchor=anchors.modality,
            others=tuple(column.take(kept) for column in columns),
        )
        return queries, len(whole) - len(kept)


def anchor_items(
    config: CompanionsConfig, table: LabelTable, asked: AskedQuery, items: Mapping[Modality, PartItems]
) -> PartItems:
    """The items that the queries of a row hang on.

    All of the anchor's modality; where a query has all samples of it, the one of the first name for each
    identity (or identity and camera).
    """
    assert asked.anchor is not None
    anchors = items[asked.anchor]
    if dict(asked.samples).get(asked.anchor) == ALL:
        return anchors.take(_first_of_each(table, _cells(table, anchors.rows, config), anchors))
    return anchors


def wanted(asked: AskedQuery) -> dict[Modality, int]:
    """How many companions of each modality a query needs besides its anchor; ALL: what there is."""
    numbers = dict(asked.samples)
    found = {m: numbers.get(m, 1) for m in asked.subset}
    return {
        m: n if n == ALL else n - (m is asked.anchor)
        for m, n in found.items()
        if n == ALL or n > (m is asked.anchor)
    }


def drawn(
    config: CompanionsConfig, table: LabelTable, asked: AskedQuery, items: Mapping[Modality, PartItems]
) -> Gathered:
    """The companions of a row whose anchor and numbers of samples are settled.

    Args:
        config: how companions are drawn.
        table: the labels.
        asked: the query's modalities, its anchor and numbers.
        items: what may become a part, for each modality.
    """
    anchors = anchor_items(config, table, asked, items)
    picks = {m: draw(config, table, anchors, items[m], number) for m, number in wanted(asked).items()}
    return Gathered(asked, anchors, items, picks)


def draw(
    config: CompanionsConfig, table: LabelTable, anchors: PartItems, found: PartItems, number: int
) -> Ints:
    """The companions of each anchor item.

    Args:
        config: seed, and which samples may go together.
        table: the labels.
        anchors: n items that queries hang on.
        found: candidates of one modality; an anchor item is never its own companion.
        number: how many for each; ALL: every candidate.

    Returns:
        (n, K) places in `found`, the lowest hash first, ABSENT where there are fewer; K is `number`, or the
        most that any has.
    """
    cells = _cells(table, found.rows, config)
    order = np.argsort(cells, kind="stable")
    mine, ordered = _cells(table, anchors.rows, config), cells[order]
    first = np.searchsorted(ordered, mine)
    count = np.searchsorted(ordered, mine, side="right") - first
    keys = (
        _mixed(anchors.codes(table) ^ _mixed(np.array([config.seed], np.uint64) + _STEP)),
        found.codes(table),
    )
    parts: list[Ints] = []
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        parts.append(_drawn(config, anchors, found, order, keys, first, count, slice(start, stop), number))
        start = stop
    width = number if number != ALL else max((part.shape[1] for part in parts), default=0)
    return np.concatenate(
        [np.zeros((0, width), np.int64), *(_widened(part, width) for part in parts)], axis=0
    )


def _drawn(
    config: CompanionsConfig,
    anchors: PartItems,
    found: PartItems,
    order: Ints,
    keys: tuple[Codes, Codes],
    first: Ints,
    count: Ints,
    which: slice,
    number: int,
) -> Ints:
    """(n, K) the companions of some anchor items."""
    size, lead = count[which], np.arange(len(count))[which]
    asker = np.repeat(lead, size)
    candidate = order[np.repeat(first[which] - (np.cumsum(size) - size), size) + np.arange(len(asker))]
    same = found.rows[candidate] == anchors.rows[asker]
    if config.captures == "any" and found.modality is anchors.modality and found.caption is not None:
        assert anchors.caption is not None
        same &= found.caption[candidate] == anchors.caption[asker]
    elif config.captures == "any" and found.modality is not anchors.modality:
        same[:] = False
    asker, candidate = asker[~same], candidate[~same]
    code = _mixed(keys[0][asker] ^ keys[1][candidate])
    sorted_ = np.lexsort((candidate, code, asker))
    asker, candidate = asker[sorted_], candidate[sorted_]
    place = np.arange(len(asker)) - np.searchsorted(asker, asker)
    width = number if number != ALL else int(place.max(initial=-1)) + 1
    kept = place < width
    picks = np.full((len(lead), width), ABSENT, np.int64)
    picks[asker[kept] - which.start, place[kept]] = candidate[kept]
    return picks


def _cells(table: LabelTable, rows: Ints, config: CompanionsConfig) -> Ints:
    """Which samples go together: those of one number. An unknown camera is one of its own."""
    identity = table.identity[rows].astype(np.int64)
    if config.within == "identity":
        return identity
    cameras = table.camera.astype(np.int64)
    return identity * (int(cameras.max(initial=0)) + 2) + cameras[rows] + 1


def _first_of_each(table: LabelTable, cells: Ints, items: PartItems) -> Ints:
    """The place of the item of the first name in each cell, in the order of the labels."""
    names = table.names.take(pa.array(items.rows))
    by_name = pc.sort_indices(names).to_numpy().astype(np.int64)
    ordered = by_name[np.argsort(cells[by_name], kind="stable")]
    begins = np.flatnonzero(np.diff(cells[ordered], prepend=-1)) if len(ordered) else ordered
    places: Ints = np.sort(ordered[begins])
    return places


def _column(found: PartItems, picks: Ints) -> PartColumn:
    there = picks != ABSENT
    if not there.any():
        return PartColumn(found.modality, picks, None if found.caption is None else np.zeros_like(picks))
    place = np.maximum(picks, 0)
    caption = None if found.caption is None else found.caption[place]
    return PartColumn(found.modality, np.where(there, found.rows[place], ABSENT), caption)


def _widened(picks: Ints, width: int) -> Ints:
    return np.pad(picks, ((0, 0), (0, width - picks.shape[1])), constant_values=ABSENT)


def _mixed(codes: Codes) -> Codes:
    """A hash of 64 bits that changes in half of its bits with any bit of the code (SplitMix64's)."""
    with np.errstate(over="ignore"):
        codes = (codes ^ (codes >> np.uint64(30))) * _FIRST
        codes = (codes ^ (codes >> np.uint64(27))) * _SECOND
        mixed: Codes = codes ^ (codes >> np.uint64(31))
    return mixed
