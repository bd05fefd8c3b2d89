"""Labels of queries and gallery items as arrays with common codes: the input of exclusion rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from reid.errors import DataError
from reid.evaluate.protocols.item_table import ItemTable
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, QueryPart, SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import (
    NONE,
    UNKNOWN,
    Ints,
    LabelTable,
    is_constant,
    taken,
    to_bits,
)
from reid.modality import ORDER, VISUAL, Modality

__all__ = ["UNKNOWN", "LabelArrays", "coded_labels", "label_arrays_of"]


@dataclass(frozen=True, eq=False)
class LabelArrays:
    """Labels of N queries or gallery items as arrays; `label_arrays_of` builds both sides with common codes.

    Integers are int32 where they fit, else int64; a column that is constant is held once.
    Unknown labels have the code UNKNOWN. Cameras and locations of two data sets have different codes.
    """

    pid: Tensor  # (N,) code of (dataset, pid)
    camid: Tensor  # (N,) code of (dataset, camid)
    viewid: Tensor  # (N,)
    location: Tensor  # (N,) code of (dataset, location)
    modalities: Tensor  # (N,) int64, one bit a modality of its parts, in canonical order
    samples: Tensor  # (N, K) codes of the samples of its parts, padded with UNKNOWN
    contents: Tensor  # (N, K) codes of those samples' content hashes, padded too
    sources: Tensor  # (N, L) codes of samples that parts were made from, padded too
    source_cameras: Tensor  # (N, L) codes of those samples' cameras, as in `camid`, padded too
    more_cameras: Tensor | None = None  # (N, P) codes of the cameras of what accompanies an anchor, padded
    more_locations: Tensor | None = None  # (N, P) codes of its locations, padded

    def __len__(self) -> int:
        return len(self.pid)

    def __getitem__(self, rows: slice | Tensor) -> LabelArrays:
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        some: dict[str, Any] = {n: None if c is None else c[rows] for n, c in columns.items()}
        return LabelArrays(**some)

    @property
    def visual(self) -> Tensor:
        """(N,) bool: has a part that is an image."""
        return (self.modalities & to_bits(VISUAL)) != 0


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

    Item tables of this label table are coded by column. Raises DataError for a part whose sample is not among
    `labels`, or a sample listed twice.
    """
    table = label_table_of(labels)
    table.check_unique()
    q, g = _arrays(queries, table), _arrays(gallery, table)
    if q.pid.dtype == g.pid.dtype:
        return q, g
    return replace(q, pid=q.pid.to(torch.int64)), replace(g, pid=g.pid.to(torch.int64))


def _arrays(items: Sequence[ProtocolQuery] | Sequence[GalleryItem], table: LabelTable) -> LabelArrays:
    if isinstance(items, ItemTable) and items.labels is table:
        return _of_table(items)
    return _of_objects(items, table)


def _of_table(items: ItemTable[Any]) -> LabelArrays:
    """The label arrays of an item table; constant columns are held once."""
    table, rows, count = items.labels, items.rows, len(items)
    unknown = np.broadcast_to(np.int32(UNKNOWN), count)
    owners, files = [rows], [taken(table.contents, rows)]
    if items.donor is not None and set(items.given) < set(items.modalities):
        other = items.donor != rows
        owners.append(np.where(other, items.donor, UNKNOWN))
        files.append(np.where(other, table.contents[items.donor], UNKNOWN))
    elif items.donor is not None:
        owners, files = [items.donor], [table.contents[items.donor]]
    sources, cameras = [], []
    places = []
    for column in items.others:
        there, row = column.rows >= 0, np.maximum(column.rows, 0)
        owners.append(column.rows)
        files.append(np.where(there, table.contents[row], UNKNOWN))
        places.append((there, row))
    for modality in items.own:
        part: Ints | int = ORDER.index(modality)
        if modality is Modality.TEXT and items.caption is not None:
            part = -1 - np.maximum(items.caption, 0).astype(np.int64)
        found = table.sources(items.rows_giving(modality), part)
        if not is_constant(found):
            found = np.where(items.having(modality), found, UNKNOWN)
        if count and (found != UNKNOWN).any():
            sources.append(found)
            cameras.append(_cameras(table, found))
    for column, (there, row) in zip(items.others, places, strict=True):
        part = ORDER.index(column.modality) if column.caption is None else -1 - np.maximum(column.caption, 0)
        found = np.where(there, table.sources(row, part), UNKNOWN)
        if (found != UNKNOWN).any():
            sources.append(found)
            cameras.append(_cameras(table, found))
    seen_by = [
        [np.where(there, of[row], UNKNOWN) for there, row in places] for of in (table.camera, table.place)
    ]
    bits = np.array([to_bits(kind) for kind in items.kinds], np.int64)
    return LabelArrays(
        pid=_tensor(taken(table.identity, rows)),
        camid=_tensor(taken(table.camera, rows) if items.seen else unknown),
        viewid=_tensor(_views(taken(table.viewid, rows)) if items.seen else unknown),
        location=_tensor(taken(table.place, rows) if items.seen else unknown),
        modalities=_tensor(np.broadcast_to(bits[0], count) if items.kind is None else bits[items.kind]),
        samples=_columns(owners, count),
        contents=_columns(files, count),
        sources=_columns(sources, count),
        source_cameras=_columns(cameras, count),
        more_cameras=_columns(seen_by[0], count) if places else None,
        more_locations=_columns(seen_by[1], count) if places else None,
    )


def _cameras(table: LabelTable, samples: Ints) -> Ints:
    """The camera of each sample; UNKNOWN for none and for one that is not in the table."""
    inside = (samples >= 0) & (samples < len(table))
    return np.where(inside, table.camera[np.where(inside, samples, 0)], UNKNOWN)


def _of_objects(items: Sequence[ProtocolQuery] | Sequence[GalleryItem], table: LabelTable) -> LabelArrays:
    """The label arrays of single items, whose parts may come from any samples."""
    listed: list[ProtocolQuery | GalleryItem] = list(items)
    parts = [_parts_of(item) for item in listed]
    names = list(dict.fromkeys(part.sample_id for own in parts for _, part in own))
    rows = table.rows_of(pa.array(names, pa.string()))
    if (missing := np.flatnonzero(rows < 0)).size:
        raise DataError(f"No labels for sample {names[missing[0]]!r}, which an item is made of.")
    row_of = dict(zip(names, rows.tolist(), strict=True))
    owners = [list(dict.fromkeys(row_of[part.sample_id] for _, part in own)) for own in parts]
    makers = [
        list(dict.fromkeys(n for n in (_source(table, row_of, *part) for part in own) if n >= 0))
        for own in parts
    ]
    cameras = [[int(table.camera[n]) if n < len(table) else UNKNOWN for n in made] for made in makers]
    dataset = table.dataset.codes[np.array([own[0] for own in owners], np.int64)]
    places: dict[str | None, int] = {value: code for code, value in enumerate(table.location.values)}

    def column(values: Iterable[int | None]) -> Ints:
        return np.array([NONE if value is None else value for value in values], np.int64)

    def coded_rows(rows: list[list[int | None]]) -> Tensor:
        """(N, P) codes of values with the data set of each item."""
        return _padded(
            [
                table.coded(column(row), np.broadcast_to(dataset[i], len(row))).tolist()
                for i, row in enumerate(rows)
            ]
        )

    located = column(_placed(item.location, places) for item in listed)
    seen = [item.seen_by if isinstance(item, ProtocolQuery) else () for item in listed]
    return LabelArrays(
        pid=_tensor(table.coded(column(item.pid for item in listed), dataset)),
        camid=_tensor(table.coded(column(item.camid for item in listed), dataset)),
        viewid=_tensor(_views(column(item.viewid for item in listed))),
        location=_tensor(table.coded(located, dataset)),
        modalities=torch.tensor([to_bits(item.parts) for item in listed], dtype=torch.int64),
        samples=_padded(owners),
        contents=_padded([[int(table.contents[n]) for n in own] for own in owners]),
        sources=_padded(makers),
        source_cameras=_padded(cameras),
        more_cameras=coded_rows([[camera for camera, _ in by] for by in seen]) if any(seen) else None,
        more_locations=coded_rows([[_placed(where, places) for _, where in by] for by in seen])
        if any(seen)
        else None,
    )


def _parts_of(item: ProtocolQuery | GalleryItem) -> list[tuple[Modality, QueryPart]]:
    return item.listed if isinstance(item, ProtocolQuery) else list(item.parts.items())


def _placed(location: str | None, places: Mapping[str | None, int]) -> int | None:
    """The code of a location; one after all for one that no sample has."""
    return None if location is None else places.get(location, len(places))


def _source(table: LabelTable, row_of: Mapping[str, int], modality: Modality, part: QueryPart) -> int:
    """The sample that a part was made from; its own sample if it was generated and names no other."""
    row = row_of[part.sample_id]
    place = -1 - (part.caption_index or 0) if modality is Modality.TEXT else ORDER.index(modality)
    return int(table.sources(np.array([row]), place)[0])


def _views(values: Ints) -> Ints:
    if is_constant(values):
        return np.broadcast_to(np.int32(UNKNOWN), len(values)) if (values == NONE).all() else values
    return np.where(values == NONE, UNKNOWN, values)


def _tensor(column: Ints) -> Tensor:
    """A column as a tensor, a constant one without its rows. Small types become int32."""
    if column.dtype.itemsize < 4:
        column = (
            np.broadcast_to(np.int32(column[0]), len(column)) if _once(column) else column.astype(np.int32)
        )
    if _once(column):
        return torch.tensor([int(column[0])], dtype=torch.from_numpy(column[:1].copy()).dtype).expand(
            len(column)
        )
    column = np.ascontiguousarray(column)
    return torch.from_numpy(column if column.flags.writeable else column.copy())


def _once(column: Ints) -> bool:
    return is_constant(column) and len(column) > 0


def _columns(columns: list[Ints], count: int) -> Tensor:
    """(N, K) of K columns; one column is not copied."""
    if len(columns) == 1:
        return _tensor(columns[0])[:, None]
    if not columns:
        return torch.zeros(count, 0, dtype=torch.int64)
    return torch.stack([_tensor(c).to(torch.int64) for c in columns], dim=1)


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor([row + [UNKNOWN] * (width - len(row)) for row in rows], dtype=torch.int64).reshape(
        len(rows), width
    )
