"""Whether labels support a protocol: does any query have a match that is not excluded?

It reads labels only, so that training, evaluation, their dry runs and the doctor check it before any work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product

from reid.config.protocols.catalogue import FIELD
from reid.errors import ConfigError
from reid.evaluate.evaluator import select_items
from reid.evaluate.protocols.choice import WITHIN, ProtocolChoice, cameras_of
from reid.evaluate.protocols.exclusion_rules import RULES
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import Modality, canonical

CAMERA_RULES = frozenset(name for name, rule in RULES.items() if rule.needs == "camid")


def is_measured(protocol: Protocol, query: Modality, gallery: Modality) -> bool:
    """Whether the protocol measures this pairing of single modalities."""
    match protocol.config.asked:
        case "to_rgb":
            return query is not Modality.RGB and gallery is Modality.RGB
        case "both":
            return query is not gallery
        case "same":
            return query is gallery
        case _:
            return True


def single_pairings(protocol: Protocol, labels: Sequence[SampleLabels]) -> list[Pairing]:
    """Every pairing of single modalities that the protocol measures; other pairings use the same rows."""
    present = canonical(m for row in labels for m in row.modalities)
    pairs = [(q, g) for q, g in product(present, present) if is_measured(protocol, q, g)]
    return [Pairing((q,), (g,), (q,), (g,)) for q, g in pairs]


def has_match(protocol: Protocol, labels: Sequence[SampleLabels], pairings: Iterable[Pairing]) -> bool:
    """Whether any query of any pairing has a match that is not excluded.

    Checks one identity after the other and stops at the first match.
    """
    rows: dict[tuple[str, int], list[SampleLabels]] = defaultdict(list)
    for row in labels:
        rows[row.dataset, row.pid].append(row)
    pairings = list(pairings)
    return any(_answered(protocol, mine, pairing) for mine in rows.values() for pairing in pairings)


def _has_sides(protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing) -> bool:
    queries, gallery = select_items(protocol, labels, pairing)
    return bool(queries.items and gallery.items)


def _answered(protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing) -> bool:
    """Whether one identity's queries have a match among its own items."""
    queries, gallery = select_items(protocol, labels, pairing)
    if not queries.items or not gallery.items:
        return False
    return bool((~protocol.exclude(*label_arrays_of(queries.items, gallery.items, labels))).any())


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
    protocol = chosen.protocol
    pairings = single_pairings(protocol, labels) if pairings is None else pairings
    measured = [p for p in pairings if _has_sides(protocol, labels, p)]  # an empty side is another fault
    if not measured or has_match(protocol, labels, measured):
        return
    seen = cameras_of(labels)
    by_camera = CAMERA_RULES & set(protocol.config.exclude)
    if len(seen) == len(labels):
        why = f"each of its {len(seen)} identities has one capture only"
        way = "Add captures"
    elif by_camera and all(len(cameras) < 2 for cameras in seen.values()):
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
