"""Selects the queries and gallery items of a protocol from the labels of samples, by column."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.config.protocols.companions import CompanionsConfig
from reid.config.protocols.query_names import AskedQuery
from reid.config.protocols.spec import PairConfig, ProtocolConfig, SideConfig
from reid.evaluate.protocols.companion_lists import CompanionList
from reid.evaluate.protocols.gathering import Gathered, PartItems, drawn, part_items
from reid.evaluate.protocols.item_table import ABSENT, ItemTable, Selection
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, SampleLabels, Side
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import Ints, LabelTable, Mask, to_bits
from reid.modality import CAMERA, Modality, Subset, canonical


def select_queries(
    config: ProtocolConfig, labels: Sequence[SampleLabels], subset: Iterable[Modality]
) -> Selection[ProtocolQuery]:
    """The queries in these modalities, in the order of `labels`; with text one for each caption or image."""
    table, chosen = label_table_of(labels), canonical(subset)
    mine = _side(config.query, table, "query")
    listed = [m for m in chosen if m in CAMERA and config.pair and m is not config.pair.donor]
    donor: Ints | None = None
    given: Subset = ()
    seen = True
    if config.pair is None:
        rows = np.flatnonzero(mine & table.having(chosen))
    elif listed:
        wanted = to_bits(listed)
        rows = np.flatnonzero(mine & table.captured.where(lambda bits: bits & wanted == wanted))
        if len(listed) < len(chosen):
            given = tuple(m for m in chosen if m not in listed)
            rows, donor = _donors(config.pair, table, config.query.split, given, rows)
    else:  # what a donor photo gives; without the photo itself, it has been seen by no camera
        rows = np.flatnonzero(mine & table.having((*chosen, config.pair.donor)))
        seen = config.pair.donor in chosen
    lacking = int(mine.sum()) - len(rows)
    caption = None
    if Modality.TEXT in chosen:
        if config.query.one_per == "caption":
            number = table.captions[donor if donor is not None and Modality.TEXT in given else rows]
            rows, caption = _for_each_caption(rows, number)
            donor = None if donor is None else np.repeat(donor, number)
        else:
            caption = np.broadcast_to(np.int8(0), len(rows))
    items = ItemTable[ProtocolQuery](
        "query", table, (chosen,), rows, caption=caption, donor=donor, given=given, seen=seen
    )
    return Selection(items, lacking)


def gather_queries(
    config: ProtocolConfig,
    labels: Iterable[SampleLabels],
    asked: AskedQuery,
    listed: CompanionList | None = None,
) -> Gathered:
    """What accompanies each anchor item of a row: drawn, or read from `listed`.

    Raises DataError where the list does not fit the labels.
    """
    table = label_table_of(labels)
    items, companions = part_items_of(config, table, asked.subset), config.companions or CompanionsConfig()
    if listed is not None:
        return listed.gathered(companions, table, asked, items)
    return drawn(companions, table, asked, items)


def part_items_of(
    config: ProtocolConfig, table: LabelTable, subset: Iterable[Modality]
) -> dict[Modality, PartItems]:
    """What may become a part of a query that hangs on an anchor: everything on the query side."""
    mine = _side(config.query, table, "query")
    return {m: part_items(table, mine, m, config.query.one_per == "caption") for m in subset}


def select_gallery(
    config: ProtocolConfig, labels: Sequence[SampleLabels], kinds: Sequence[Subset]
) -> Selection[GalleryItem]:
    """Every item that a trial may draw, in the order of `labels`, then by kind.

    One item for each sample and kind, with its first caption; items of text alone are one for each caption. A
    sample is counted as lacking when it has none of the kinds.
    """
    table = label_table_of(labels)
    mine = _side(config.gallery, table, "gallery")
    fitting = np.zeros(len(table), bool)
    parts: list[tuple[Ints, Ints]] = []
    for kind in kinds:
        fits = mine & table.having(kind)
        fitting |= fits
        rows = np.flatnonzero(fits)
        if kind == (Modality.TEXT,):
            parts.append(_for_each_caption(rows, table.captions[rows]))
        else:
            first = 0 if Modality.TEXT in kind else ABSENT
            parts.append((rows, np.broadcast_to(np.int8(first), len(rows))))
    rows, caption = (np.concatenate(side) if len(kinds) > 1 else side[0] for side in zip(*parts, strict=True))
    number = None
    if len(kinds) > 1:
        number = np.repeat(np.arange(len(kinds), dtype=np.int16), [len(rows) for rows, _ in parts])
        order = np.lexsort((number, rows))  # stable: captions stay in order
        rows, caption, number = rows[order], caption[order], number[order]
    texts = caption if any(Modality.TEXT in kind for kind in kinds) else None
    items = ItemTable[GalleryItem]("gallery", table, tuple(kinds), rows, number, texts)
    return Selection(items, int(mine.sum() - fitting.sum()))


def _donors(
    config: PairConfig, table: LabelTable, split: str | None, given: Subset, rows: Ints
) -> tuple[Ints, Ints]:
    """The query rows whose identity has a donor of what is given, and a seeded random donor of each.

    The donor of a row is the same one for every subset that the same samples can give.
    """
    may = table.having((config.donor, *given))
    if split is not None:
        may &= table.split.where(lambda value: value == split)
    donors = np.flatnonzero(may)
    donors = donors[pc.sort_indices(table.names.take(pa.array(donors))).to_numpy().astype(np.int64)]
    donors = donors[np.argsort(table.identity[donors], kind="stable")]
    first = np.searchsorted(table.identity[donors], table.identity[rows])
    count = np.searchsorted(table.identity[donors], table.identity[rows], side="right") - first
    rows, first, count = rows[count > 0], first[count > 0], count[count > 0]
    names = table.names.take(pa.array(rows))
    picks = [
        random.Random(f"{config.seed}|{name.as_py()}").choice(range(number))
        for name, number in zip(names, count.tolist(), strict=True)
    ]
    return rows, donors[first + np.array(picks, np.int64)]


def _side(config: SideConfig, table: LabelTable, side: Side) -> Mask:
    """The samples of a side, whatever modalities they have."""
    mine = np.ones(len(table), bool)
    if config.roles:
        mine &= table.roles.where(lambda roles: roles is None or side in roles)
    if config.cameras is not None:
        mine &= np.isin(table.camid, list(config.cameras))
    if config.split is not None:
        mine &= table.split.where(lambda split: split == config.split)
    return mine


def _for_each_caption(rows: Ints, number: Ints) -> tuple[Ints, Ints]:
    """Each row as often as it has captions, and which caption it is."""
    number = number.astype(np.int64)
    first = np.cumsum(number) - number
    return np.repeat(rows, number), np.arange(int(number.sum())) - np.repeat(first, number)
