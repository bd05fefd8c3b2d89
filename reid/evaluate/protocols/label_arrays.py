"""Labels of queries and gallery items as arrays with common codes: the input of exclusion rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from reid.errors import DataError
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, Provenance, QueryPart, SampleLabels
from reid.modality import ORDER, VISUAL, Modality

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class LabelArrays:
    """Labels of N queries or gallery items as arrays; `label_arrays_of` builds both sides with common codes.

    Unknown labels have the code UNKNOWN. Cameras and locations of two data sets have different codes.
    """

    pid: Tensor  # (N,) int64 code of (dataset, pid)
    camid: Tensor  # (N,) int64 code of (dataset, camid)
    viewid: Tensor  # (N,) int64
    location: Tensor  # (N,) int64 code of (dataset, location)
    modalities: Tensor  # (N,) int64, one bit a modality of its parts, in canonical order
    samples: Tensor  # (N, K) int64 codes of the samples of its parts, padded with UNKNOWN
    contents: Tensor  # (N, K) int64 codes of those samples' content hashes, padded too
    sources: Tensor  # (N, L) int64 codes of samples that parts were made from, padded too
    source_cameras: Tensor  # (N, L) int64 codes of those samples' cameras, as in `camid`, padded too

    def __len__(self) -> int:
        return len(self.pid)

    def __getitem__(self, rows: slice | Tensor) -> LabelArrays:
        return LabelArrays(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def visual(self) -> Tensor:
        """(N,) bool: has a part that is an image."""
        return (self.modalities & _bits(VISUAL)) != 0


def coded_labels(pid: Sequence[int], **codes: Sequence[int] | Sequence[Sequence[int]]) -> LabelArrays:
    """Label arrays from codes that are at hand, for N items; labels that are not given are unknown.

    Args:
        pid: identity of each item, (N,).
        codes: other fields of `LabelArrays` by name, (N,), or (N, K) for the padded ones.

    Raises TypeError for a name that is no field.

    >>> arrays = coded_labels(pid=[4, 7], camid=[0, 1])
    >>> arrays.camid.tolist(), arrays.location.tolist(), tuple(arrays.samples.shape)
    ([0, 1], [-1, -1], (2, 0))
    """
    count = len(pid)
    columns = {name: torch.full((count,), UNKNOWN) for name in ("camid", "viewid", "location")}
    sets = ("samples", "contents", "sources", "source_cameras")
    columns |= {name: torch.zeros(count, 0, dtype=torch.int64) for name in sets}
    columns |= {"modalities": torch.zeros(count, dtype=torch.int64), "pid": torch.tensor(pid)}
    return LabelArrays(**columns | {name: torch.tensor(values) for name, values in codes.items()})


def label_arrays_of(
    queries: Sequence[ProtocolQuery], gallery: Sequence[GalleryItem], labels: Iterable[SampleLabels]
) -> tuple[LabelArrays, LabelArrays]:
    """The label arrays of both sides, in their order. Identities key on (dataset, pid).

    Raises DataError for a part whose sample is not among `labels`, or a sample listed twice.
    """
    known: dict[str, SampleLabels] = {}
    for row in labels:
        if known.setdefault(row.sample_id, row) is not row:
            raise DataError(f"Two samples are called {row.sample_id!r}; sample_id must be unique.")
    identities, cameras, places, samples, contents = (_Codes() for _ in range(5))

    def arrays(items: Sequence[ProtocolQuery] | Sequence[GalleryItem]) -> LabelArrays:
        columns: dict[str, list[int]] = {name: [] for name in ("pid", "camid", "location", "modalities")}
        owners, files, makers, maker_cameras = [], [], [], []
        for item in items:
            try:
                rows = [(known[part.sample_id], m, part) for m, part in item.parts.items()]
            except KeyError as error:
                raise DataError(f"No labels for sample {error}, which an item is made of.") from None
            dataset = rows[0][0].dataset
            columns["pid"].append(identities(dataset, item.pid))
            columns["camid"].append(cameras(dataset, item.camid))
            columns["location"].append(places(dataset, item.location))
            columns["modalities"].append(_bits(item.parts))
            owned = dict.fromkeys(row.sample_id for row, _, _ in rows)
            owners.append([samples(name) for name in owned])
            files.append([contents(known[name].content_hash) for name in owned])
            sources = [_source(row, m, part) for row, m, part in rows]
            made = dict.fromkeys(name for name in sources if name is not None)
            makers.append([samples(name) for name in made])
            came = [known.get(name) for name in made]
            maker_cameras.append([cameras(row.dataset, row.camid) if row else UNKNOWN for row in came])
        return LabelArrays(
            **{name: torch.tensor(column, dtype=torch.int64) for name, column in columns.items()},
            viewid=torch.tensor(
                [UNKNOWN if item.viewid is None else item.viewid for item in items], dtype=torch.int64
            ),
            samples=_padded(owners),
            contents=_padded(files),
            sources=_padded(makers),
            source_cameras=_padded(maker_cameras),
        )

    return arrays(queries), arrays(gallery)


class _Codes:
    """Numbers keys from 0 in the order in which they come; a key that contains None is UNKNOWN."""

    def __init__(self) -> None:
        self._of: dict[tuple[object, ...], int] = {}

    def __call__(self, *key: object) -> int:
        return UNKNOWN if None in key else self._of.setdefault(key, len(self._of))


def _bits(modalities: Iterable[Modality]) -> int:
    return sum(1 << ORDER.index(m) for m in set(modalities))


def _source(row: SampleLabels, modality: Modality, part: QueryPart) -> str | None:
    """The sample that a part was made from; its own sample if it was generated and names no other."""
    came = row.provenance(modality, part.caption_index)
    return row.sample_id if came == Provenance("generated") else came.source_id


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor([row + [UNKNOWN] * (width - len(row)) for row in rows], dtype=torch.int64).reshape(
        len(rows), width
    )
