"""Selects the queries and gallery items of a protocol from the labels of samples."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

from reid.config.protocols.spec import PairConfig, ProtocolConfig, SideConfig
from reid.evaluate.protocols.items import (
    GalleryItem,
    ProtocolQuery,
    QueryPart,
    SampleLabels,
    Selection,
    Side,
    make_query,
)
from reid.modality import CAMERA, Modality, Subset, canonical, subset_name


def select_queries(
    config: ProtocolConfig, labels: Sequence[SampleLabels], subset: Iterable[Modality]
) -> Selection[ProtocolQuery]:
    """The queries in these modalities, in the order of `labels`; with text one for each caption or image."""
    chosen = canonical(subset)
    mine = _side(config.query, labels, "query")
    listed = [m for m in chosen if m in CAMERA and config.pair and m is not config.pair.donor]
    if config.pair is None:
        rows = _having(mine, chosen)
        found = [(dict.fromkeys(chosen, row), [row]) for row in rows]
    elif listed:
        donors = _Donors(config.pair, labels, config.query.split, [m for m in chosen if m not in listed])
        found = []
        for row in mine:
            donor = row if len(listed) == len(chosen) else donors.of(row)
            if donor is not None and all(_captured(row, m) for m in listed):
                found.append(({m: row if m in listed else donor for m in chosen}, [row]))
    else:  # what a donor photo gives; without the photo itself, it has been seen by no camera
        rows = [row for row in _having(mine, chosen) if config.pair.donor in row.modalities]
        found = [(dict.fromkeys(chosen, row), [row] if config.pair.donor in chosen else []) for row in rows]
    queries = []
    for parts, seen in found:
        for caption in _captions(config, parts.get(Modality.TEXT)):
            chosen_parts = [(m, row, caption if m is Modality.TEXT else None) for m, row in parts.items()]
            queries.append(make_query(chosen_parts, seen))
    return Selection(tuple(queries), len(mine) - len(found))


def select_gallery(
    config: ProtocolConfig, labels: Sequence[SampleLabels], kinds: Sequence[Subset]
) -> Selection[GalleryItem]:
    """Every item that a trial may draw, in the order of `labels`, then by kind.

    One item for each sample and kind, with its first caption; items of text alone are one for each caption. A
    sample is counted as lacking when it has none of the kinds.
    """
    mine = _side(config.gallery, labels, "gallery")
    items: list[GalleryItem] = []
    lacking = 0
    for row in mine:
        fitting = [kind for kind in kinds if set(kind) <= set(row.modalities)]
        lacking += not fitting
        for kind in fitting:
            of_kind = f":{subset_name(kind)}" if len(kinds) > 1 else ""
            alone = kind == (Modality.TEXT,)
            for caption in range(len(row.captions) if alone else 1):
                parts = {m: QueryPart(row.sample_id, caption if m is Modality.TEXT else None) for m in kind}
                name = f"{row.sample_id}#{caption}" if alone else row.sample_id
                items.append(
                    GalleryItem(
                        name + of_kind, row.pid, row.camid, parts, row.viewid, row.location, row.dataset
                    )
                )
    return Selection(tuple(items), lacking)


class _Donors:
    """A seeded random sample of each identity that gives text and sketch; the same one for every subset."""

    def __init__(
        self,
        config: PairConfig,
        labels: Sequence[SampleLabels],
        split: str | None,
        carried: Sequence[Modality],
    ) -> None:
        self.seed = config.seed
        self._of: dict[tuple[str, int], list[SampleLabels]] = defaultdict(list)
        for row in sorted(_having(labels, (config.donor, *carried)), key=lambda r: r.sample_id):
            if split in (None, row.split):
                self._of[row.dataset, row.pid].append(row)

    def of(self, row: SampleLabels) -> SampleLabels | None:
        """The donor of a query row; None if its identity has none."""
        rows = self._of.get((row.dataset, row.pid))
        return random.Random(f"{self.seed}|{row.sample_id}").choice(rows) if rows else None


def _side(config: SideConfig, labels: Sequence[SampleLabels], side: Side) -> list[SampleLabels]:
    """The samples of a side, whatever modalities they have."""
    return [
        row
        for row in labels
        if (not config.roles or row.roles is None or side in row.roles)
        and (config.cameras is None or row.camid in config.cameras)
        and config.split in (None, row.split)
    ]


def _having(rows: Sequence[SampleLabels], subset: Iterable[Modality]) -> list[SampleLabels]:
    wanted = set(subset)
    return [row for row in rows if wanted <= set(row.modalities)]


def _captured(row: SampleLabels, modality: Modality) -> bool:
    image = (row.images or {}).get(modality)
    return image is not None and image.origin == "captured"


def _captions(config: ProtocolConfig, row: SampleLabels | None) -> Sequence[int | None]:
    """Indices of the captions that make queries; one query without a caption if the subset has no text."""
    if row is None:
        return [None]
    return range(len(row.captions)) if config.query.one_per == "caption" else [0]
