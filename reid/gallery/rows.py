"""One gallery row: the item, its Arrow schema, and the checks that keep bad vectors out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reid.data.labels import is_nothing
from reid.errors import GalleryError
from reid.modality import Subset, parse_subset, subset_name

Vectors = npt.NDArray[np.float32]
PLAIN_COLUMNS = ("id", "pid", "camid", "timestamp", "modalities", "source")
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
_NORM_TOLERANCE = 1e-3
_MAX_ID_CHARS = 512


@dataclass(frozen=True)
class Item:
    """A capture in the gallery. `vectors` maps subset names ("rgb+nir") to (dim,) unit vectors."""

    id: str
    vectors: Mapping[str, Vectors]
    model_fingerprint: str
    modalities: Subset = ()
    pid: int | None = None
    camid: int | None = None
    timestamp: float | None = None
    thumbnail: bytes | None = None
    source: str | None = None


def vector_column(subset: str) -> str:
    """The column of a subset's vectors: a plain identifier, so that no tool has to quote it."""
    return "vector_" + subset.replace("+", "_")


def canonical_names(subsets: Iterable[str | Subset]) -> tuple[str, ...]:
    """Canonical subset names, no duplicates, in the order given. UsageError for unknown ones."""
    return tuple(dict.fromkeys(subset_name(parse_subset(s)) for s in subsets))


def schema(dim: int, subsets: Sequence[str]) -> pa.Schema:
    """The Arrow schema of a gallery with (dim,) vectors; every column but the id may be null."""
    return pa.schema(
        [
            # Lance uses the key to detect two writers inserting the same id at the same time.
            pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
            *(pa.field(vector_column(s), pa.list_(pa.float32(), dim)) for s in subsets),
            pa.field("pid", pa.int64()),
            pa.field("camid", pa.int32()),
            pa.field("timestamp", pa.float64()),
            pa.field("modalities", pa.string()),
            pa.field("thumbnail", pa.binary()),
            pa.field("model_fingerprint", pa.string()),
            pa.field("source", pa.string()),
        ]
    )


def to_table(items: Sequence[Item], dim: int, subsets: Sequence[str]) -> pa.Table:
    """Items as an Arrow table of `schema(dim, subsets)`.

    Raises GalleryError naming the item: a bad or repeated id, a subset that the gallery does not
    index, no vector at all, a wrong dimension, a non-finite value, or a norm that is not 1.
    """
    seen: set[str] = set()
    for item in items:
        _check(item, dim, subsets)
        if item.id in seen:
            raise GalleryError(f"Item {item.id!r} occurs twice in one call; ids are unique.")
        seen.add(item.id)
    columns: dict[str, Any] = {
        "id": [i.id for i in items],
        "pid": [i.pid for i in items],
        "camid": [i.camid for i in items],
        "timestamp": [i.timestamp for i in items],
        "modalities": [subset_name(i.modalities) or None for i in items],
        "thumbnail": [i.thumbnail for i in items],
        "model_fingerprint": [i.model_fingerprint for i in items],
        "source": [i.source for i in items],
    }
    for subset in subsets:
        columns[vector_column(subset)] = _vector_array([i.vectors.get(subset) for i in items], dim)
    return pa.table({f.name: columns[f.name] for f in schema(dim, subsets)}, schema=schema(dim, subsets))


def to_matrix(column: pa.ChunkedArray, dim: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """(n, dim) vectors of the non-null entries of a column, and their (n,) positions in it."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    rows = np.flatnonzero(np.asarray(array.is_valid()))
    values = array.drop_null().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1, dim), rows.astype(np.int64)


def _vector_array(vectors: Sequence[Vectors | None], dim: int) -> pa.Array:
    missing = np.array([v is None for v in vectors], dtype=bool)
    flat = np.zeros((len(vectors), dim), dtype=np.float32)
    for row, vector in enumerate(vectors):
        if vector is not None:
            flat[row] = vector
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat.reshape(-1)), type=pa.list_(pa.float32(), dim), mask=pa.array(missing)
    )


def _check(item: Item, dim: int, subsets: Sequence[str]) -> None:
    if is_nothing(item.id):
        raise GalleryError(f"Item id {item.id!r} stands for no name; give one, or none to have one made.")
    if len(item.id) > _MAX_ID_CHARS or not item.id.isprintable():
        raise GalleryError(f"Item id {item.id[:40]!r}: give 1 to {_MAX_ID_CHARS} printable characters.")
    if not item.vectors:
        raise GalleryError(
            f"Item {item.id!r} has no vector, so no search could find it; the gallery indexes "
            f"{', '.join(subsets)} (index.subsets)."
        )
    for subset, vector in item.vectors.items():
        if subset not in subsets:
            raise GalleryError(
                f"Item {item.id!r}: subset {subset!r} is not indexed here; the gallery has "
                f"{', '.join(subsets)}. Add it to index.subsets and index anew."
            )
        if np.shape(vector) != (dim,):
            raise GalleryError(
                f"Item {item.id!r}, {subset}: vector of shape {np.shape(vector)}, expected ({dim},)."
            )
        norm = float(np.linalg.norm(vector))
        if not math.isfinite(norm) or abs(norm - 1) > _NORM_TOLERANCE:
            raise GalleryError(f"Item {item.id!r}, {subset}: vector norm {norm:.4g}, expected 1.")
