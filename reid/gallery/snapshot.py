"""A consistent, immutable view of one version of a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reid import storage
from reid.comparison.mixed import Stored
from reid.errors import GalleryError
from reid.gallery import rows
from reid.gallery.ids import Ids, bare_ids, near_id
from reid.gallery.rows import Vectors
from reid.modality import parse_subset

Rows = npt.NDArray[np.int64]
_T = TypeVar("_T")


class VersionGone(GalleryError):
    """The version that a snapshot shows has been purged, because something in it was deleted."""


class Snapshot:
    """One version of a gallery, sorted by id: a row number means the same item throughout.

    Labels are in memory; vectors and thumbnails are read from the pinned version when asked for.
    """

    def __init__(
        self,
        table_uri: str,
        options: dict[str, str],
        dim: int,
        subsets: Sequence[str],
        version: int | None = None,
    ) -> None:
        import lance

        self.dim = dim
        self.subsets = tuple(subsets)
        self._uri = table_uri
        self._dataset: Any = self._guard(
            lambda: lance.dataset(table_uri, version=version, storage_options=options)
        )
        self.version = int(self._dataset.version)
        labels = self._guard(lambda: self._dataset.to_table(columns=list(rows.PLAIN_COLUMNS)))
        order = pc.sort_indices(labels, sort_keys=[("id", "ascending")])
        self._offset_of_row: Rows = order.to_numpy().astype(np.int64)
        self.labels: pa.Table = labels.take(order).combine_chunks()

    def __len__(self) -> int:
        return int(self.labels.num_rows)

    @property
    def ids(self) -> list[str]:
        """Item ids by row, ascending."""
        return list(self.labels["id"].to_pylist())

    @cached_property
    def _bare_ids(self) -> Ids:
        return bare_ids(self.labels["id"])

    def near(self, item_id: str) -> str | None:
        """A stored id that may be this one in another spelling; None where it is stored itself."""
        return near_id(self.labels["id"], item_id, self._bare_ids)

    def not_indexed(self, subset: str) -> GalleryError:
        """The error for a subset that the gallery has no vectors of."""
        return GalleryError(
            f"Subset {subset!r} is not indexed; this gallery has {', '.join(self.subsets)}. Add it to "
            "index.subsets and index anew."
        )

    def vectors(self, subset: str) -> tuple[Vectors, Rows]:
        """(n, dim) vectors of the items that have this subset; their (n,) ascending row numbers.

        Raises GalleryError for a subset that is not indexed, VersionGone if the version was purged.
        """
        if subset not in self.subsets:
            raise self.not_indexed(subset)
        name = rows.vector_column(subset)
        column = self._guard(lambda: self._dataset.to_table(columns=[name]))[name]
        matrix, offsets = rows.to_matrix(column, self.dim)
        row_of_offset = np.empty(len(self), dtype=np.int64)
        row_of_offset[self._offset_of_row] = np.arange(len(self))
        found = row_of_offset[offsets]
        order = np.argsort(found)
        return np.ascontiguousarray(matrix[order]), found[order]

    @cached_property
    def _presence(self) -> tuple[Rows, list[Stored]]:
        """(n,) number of each item's kind, by row; the kinds: the subsets that are stored of an item."""
        columns = {s: f"{rows.vector_column(s)} IS NOT NULL" for s in self.subsets}
        table = self._guard(lambda: self._dataset.to_table(columns={"id": "id", **columns}))
        codes = np.zeros(len(self), np.int64)
        for place, subset in enumerate(self.subsets):
            codes |= table[subset].to_numpy().astype(np.int64) << place
        found, kind = np.unique(codes[self._offset_of_row], return_inverse=True)
        parsed = [parse_subset(s) for s in self.subsets]
        return kind.astype(np.int64), [
            tuple(s for place, s in enumerate(parsed) if code >> place & 1) for code in found.tolist()
        ]

    @property
    def kinds(self) -> dict[Stored, int]:
        """What is stored of items -> how many items. Raises VersionGone if the version was purged."""
        kind, names = self._presence
        return dict(zip(names, np.bincount(kind, minlength=len(names)).tolist(), strict=True))

    def of_kinds(self, kinds: Iterable[Stored]) -> npt.NDArray[np.bool_]:
        """(n,) bool: the rows whose items are of these kinds."""
        wanted = set(kinds)
        kind, names = self._presence
        found: npt.NDArray[np.bool_] = np.array([name in wanted for name in names], bool)[kind]
        return found

    def thumbnails(self, wanted: Sequence[int]) -> list[bytes | None]:
        """The JPEG thumbnails of the given rows. Raises VersionGone if the version was purged."""
        if not wanted:
            return []
        unique, back = np.unique(self._offset_of_row[np.asarray(wanted)], return_inverse=True)
        table = self._guard(lambda: self._dataset.take(unique.tolist(), columns=["thumbnail"]))
        pictures = table["thumbnail"].to_pylist()
        return [pictures[i] for i in back]

    def item(self, row: int) -> dict[str, Any]:
        """The labels of one row: id, pid, camid, timestamp, modalities (a name), source."""
        return {name: self.labels[name][row].as_py() for name in rows.PLAIN_COLUMNS}

    def _guard(self, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except (OSError, RuntimeError, ValueError) as error:
            if "not found" in str(error).lower():
                raise VersionGone(
                    f"{self._uri}: this version of the gallery was purged after a deletion; take "
                    "a new snapshot."
                ) from error
            if (told := storage.refusal(self._uri, error)) is not None:
                raise told from error
            raise GalleryError(f"{self._uri}: cannot be read ({str(error).splitlines()[0]}).") from error
