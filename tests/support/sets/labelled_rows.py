"""Labels of captures without pictures: what a preflight looks at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.modality import parse_subset
from reid.preflight import ListedData


def rows(
    identities: Iterable[int],
    captures: int = 4,
    modalities: str = "rgb+nir+tir+sketch+text",
    split: str = "train",
    cameras: int = 2,
) -> list[SampleLabels]:
    """So many captures of each identity, all with these modalities; cameras take turns."""
    have = parse_subset(modalities)
    return [
        SampleLabels(
            sample_id=f"{split}-{pid}-{number}-{modalities}",
            dataset="tiny",
            pid=pid,
            split=split,
            camid=number % cameras,
            images={m: Provenance() for m in have if m.is_visual},
            captions=(Provenance(),) if len(have) > sum(m.is_visual for m in have) else (),
        )
        for pid in identities
        for number in range(captures)
    ]


def listed(*parts: Sequence[SampleLabels]) -> ListedData:
    """One set of all of them."""
    return ListedData("a folder", [row for part in parts for row in part])
