"""Whether labels support a protocol: does any query have a match that is not excluded?

It reads labels only, so that training, evaluation, their dry runs and the doctor check it before any work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from reid.config.protocols.catalogue import FIELD
from reid.errors import ConfigError
from reid.evaluate.evaluator import select_items
from reid.evaluate.protocols.choice import WITHIN, ProtocolChoice, cameras_of
from reid.evaluate.protocols.exclusion_rules import RULES
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import LabelTable
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import PHOTO, Modality

CAMERA_RULES = frozenset(name for name, rule in RULES.items() if rule.needs == "camid")
TOGETHER = 1024
"""Samples, of whole identities, that are compared with each other at a time."""


def is_measured(protocol: Protocol, query: Modality, gallery: Modality) -> bool:
    """Whether the protocol measures this pairing of single modalities."""
    match protocol.config.asked:
        case "to_rgb":
            return query is not PHOTO and gallery is PHOTO
        case "both":
            return query is not gallery
        case "same":
            return query is gallery
        case _:
            return True


def single_pairings(protocol: Protocol, labels: Sequence[SampleLabels]) -> list[Pairing]:
    """Every pairing of single modalities that the protocol measures; other pairings use the same rows."""
    present = label_table_of(labels).modalities
    pairs = [(q, g) for q, g in product(present, present) if is_measured(protocol, q, g)]
    return [Pairing((q,), (g,), (q,), (g,)) for q, g in pairs]


def has_match(protocol: Protocol, labels: Sequence[SampleLabels], pairings: Iterable[Pairing]) -> bool:
    """Whether any query of any pairing has a match that is not excluded.

    Checks some identities after the others, all samples of each, and stops at the first match.
    """
    table, pairings = label_table_of(labels), list(pairings)
    order = np.argsort(table.identity, kind="stable")
    starts = np.flatnonzero(np.diff(table.identity[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    begin = 0
    while begin < len(starts):
        stop = max(begin + 1, int(np.searchsorted(ends, starts[begin] + TOGETHER, side="right")))
        rows = np.sort(order[starts[begin] : ends[stop - 1]])
        if any(_answered(protocol, table.take(rows), pairing) for pairing in pairings):
            return True
        begin = stop
    return False


def _has_sides(protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing) -> bool:
    queries, gallery = select_items(protocol, labels, pairing)
    return bool(len(queries.items) and len(gallery.items))


def _answered(protocol: Protocol, labels: LabelTable, pairing: Pairing) -> bool:
    """Whether a query has a match among these samples."""
    queries, gallery = select_items(protocol, labels, pairing)
    if not len(queries.items) or not len(gallery.items):
        return False
    q, g = label_arrays_of(queries.items, gallery.items, labels)
    return any(
        bool(((q[i : i + TOGETHER].pid[:, None] == g.pid) & ~protocol.exclude(q[i : i + TOGETHER], g)).any())
        for i in range(0, len(q), TOGETHER)
    )


def check_support(
    chosen: ProtocolChoice,
    labels: Sequence[SampleLabels],
    pairings: Iterable[Pairing] | None = None,
    field: str = FIELD,
    what: str = "the split",
    otherwise: str = "",
) -> None:
    """Raise ConfigError naming `field` when no query has a match, so that nothing could be measured.

    Without `pairings` every pairing of single modalities is checked. `otherwise` adds another remedy.
    """
    protocol, labels = chosen.protocol, label_table_of(labels)
    pairings = single_pairings(protocol, labels) if pairings is None else pairings
    measured = [p for p in pairings if _has_sides(protocol, labels, p)]  # an empty side is another fault
    if not measured or has_match(protocol, labels, measured):
        return
    seen = cameras_of(labels)
    by_camera = CAMERA_RULES & set(protocol.config.exclude)
    if seen.identities == len(labels):
        why = f"each of its {seen.identities} identities has one capture only"
        way = "Add captures"
    elif by_camera and not seen.shared:
        why = "no identity was seen by two cameras, and captures of the query's camera do not count"
        way = (
            f"Set {field}=auto, which is {WITHIN} for such data, or label the cameras (own folders: "
            "data.reader.camera_pattern, or the manifest's camid column)"
        )
    else:
        excluded = "; ".join(protocol.exclusions) or "nothing"
        why = f"not counted: {excluded}"
        way = f"Choose another {field}, or complete roles and labels"
    raise ConfigError(
        f"{field}: under {protocol.name} no query of {what} has a right answer: {why}. {way}{otherwise}."
    )
