"""The rows of an evaluation whose queries hang on an anchor: their list of companions, and what is refused.

It reads labels only, so that everything is checked before any work.
"""

from __future__ import annotations

from collections.abc import Iterable

from reid.errors import DataError
from reid.evaluate.protocols.companion_lists import FIELD, CompanionList, list_of
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import LabelTable
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.protocols.selection import part_items_of
from reid.modality import subset_name


def check_companions(
    protocol: Protocol, labels: Iterable[SampleLabels], pairings: Iterable[Pairing]
) -> CompanionList | None:
    """Check the anchors of an evaluation and its list of companions; give that list, drawn or read.

    None where no query hangs on an anchor. Raises DataError for an anchor that has no items, and for a list
    that does not fit the labels or has another hash than `companions.sha256`.
    """
    asking = [pairing for pairing in pairings if pairing.anchor is not None]
    if not asking:
        return None
    table = label_table_of(labels)
    items = part_items_of(protocol.config, table, table.modalities)
    for pairing in asking:
        if pairing.anchor not in items or not len(items[pairing.anchor].rows):
            raise _no_items(protocol, table, pairing)
    listed = protocol.companion_list
    if listed is not None:
        listed.check_fits(table, items)
        for asked in dict.fromkeys(pairing.gathered for pairing in asking):
            protocol.gathered(table, asked)  # refuses an item that is not listed
        return listed
    found = list_of(table, (protocol.gathered(table, a) for a in dict.fromkeys(p.gathered for p in asking)))
    if protocol.config.companions is not None:
        found.check_hash(protocol.config.companions)
    return found


def _no_items(protocol: Protocol, table: LabelTable, pairing: Pairing) -> DataError:
    sides = part_items_of(protocol.config, table, table.modalities)
    have = subset_name(m for m, items in sides.items() if len(items.rows)) or "none"
    split = protocol.config.query.split
    where = f" of the {split} split" if split else ""
    return DataError(
        f"{FIELD}.anchor: {pairing.name} hangs on {pairing.anchor}, and no query sample{where} has it; they "
        f"have {have}. Choose another anchor, or complete roles and modalities."
    )
