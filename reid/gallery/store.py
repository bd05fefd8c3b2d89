"""The durable gallery: a versioned Lance table with a JSON note of what its vectors are.

    <uri>/gallery.json     dim, subsets, model, run, how items are compared: the commit point of `create`
    <uri>/rows.lance/      one row an item; each add or delete is one atomic new version

A writer killed at any point leaves the last committed version. Readers hold a `Snapshot` of one
version. Old versions are kept for an hour after later ones replace them, except that a deletion
removes them at once: what is deleted is then in no file of the gallery, and a snapshot that still
needed it raises VersionGone. (A bucket with object versioning on keeps what is deleted: turn that off, or
expire old object versions.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from reid import storage
from reid.comparison.rule import ComparisonRule
from reid.data.labels import tidy
from reid.errors import GalleryError, StorageError, UsageError
from reid.gallery import rows
from reid.gallery.places import NOTE, find_gallery
from reid.gallery.rows import Item
from reid.gallery.snapshot import Snapshot
from reid.modality import Subset

FORMAT = 1
# A deletion rewrites the fragments that it touches, thumbnails included: small ones keep it cheap.
ROWS_PER_FRAGMENT = 8192
_FRAGMENTS_BEFORE_COMPACTION = 32
_KEEP_OLD_VERSIONS = timedelta(hours=1)
_CONFLICT_RETRIES = 5


@dataclass(frozen=True)
class Metadata:
    """What the vectors are. `subsets` are canonical names, each one a vector column."""

    dim: int
    subsets: tuple[str, ...]
    model_fingerprint: str
    run: str
    created: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] | None = None
    """The rule by which its items are compared, as a record; galleries of before have none."""


class Gallery:
    """A gallery on a local path or s3://. Make one with `create`, `open` or `ensure`."""

    def __init__(self, uri: str, metadata: Metadata) -> None:
        self.uri = uri
        self.metadata = metadata
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        made = self.metadata
        return (
            f"<Gallery {self.uri}: {', '.join(made.subsets)}, {made.dim} dimensions, model "
            f"{made.model_fingerprint}>"
        )

    @classmethod
    def create(
        cls,
        uri: str,
        dim: int,
        subsets: Sequence[str | Subset],
        model_fingerprint: str,
        run: str,
        provenance: Mapping[str, Any] | None = None,
        rule: ComparisonRule | None = None,
    ) -> Gallery:
        """Make an empty gallery for (dim,) vectors of the given subsets, computed by one model.

        `provenance` is any JSON worth keeping (data fingerprint, auxiliary generators), `rule` how the model
        compares. Raises GalleryError when a gallery is already there or no subset is named.
        """
        import lance

        uri = storage.absolute(uri)
        if storage.exists(_note(uri)):
            raise GalleryError(
                f"{uri}: a gallery is already there; open it, or choose another index.gallery."
            )
        names = rows.canonical_names(subsets)
        if not names or dim < 1:
            raise GalleryError("A gallery needs at least one subset (index.subsets) and a dimension above 0.")
        created = datetime.now(UTC).isoformat(timespec="seconds")
        terms = None if rule is None else rule.as_json()
        metadata = Metadata(dim, names, model_fingerprint, run, created, dict(provenance or {}), terms)
        storage.make_dir(uri)
        with _readable_errors(uri):
            # Without a note, a table is the remains of a create that was killed.
            remains = storage.exists(_table(uri))
            lance.write_dataset(
                rows.schema(dim, names).empty_table(),
                _table(uri),
                mode="overwrite" if remains else "create",
                storage_options=storage_options(uri),
            )
        storage.write_json(_note(uri), {"format": FORMAT, **asdict(metadata)})
        return cls(uri, metadata)

    @classmethod
    def open(cls, uri: str, model_fingerprint: str | None = None) -> Gallery:
        """Open a gallery, local or s3://, or one of a folder of galleries (see `find_gallery`).

        Of a folder it is the model's, if one is given, else the one that LATEST names, or the only one.

        Raises GalleryError when there is none, when several are meant, or when its format is unknown.

        >>> reid.Gallery.open(gallery.uri)
        <Gallery .../runs/gallery/mine-...: rgb, 16 dimensions, model ...>
        """
        uri = find_gallery(uri, model_fingerprint)
        if not storage.exists(_note(uri)):
            raise GalleryError(f"{uri}: no gallery here; make one with `python -m jobs.index`.")
        note = dict(storage.read_json(_note(uri)))
        if note.pop("format", None) != FORMAT:
            raise GalleryError(f"{uri}: unknown gallery format; index anew with this version.")
        try:
            return cls(uri, Metadata(**{**note, "subsets": tuple(note["subsets"])}))
        except (KeyError, TypeError) as error:
            raise GalleryError(f"{_note(uri)}: damaged ({error}); index anew.") from None

    @classmethod
    def ensure(
        cls,
        uri: str,
        dim: int,
        subsets: Sequence[str | Subset],
        model_fingerprint: str,
        run: str,
        provenance: Mapping[str, Any] | None = None,
        rule: ComparisonRule | None = None,
    ) -> Gallery:
        """Open the gallery, or create it. GalleryError if it is of another model, of other terms or shape."""
        if not storage.exists(_note(storage.absolute(uri))):
            return cls.create(uri, dim, subsets, model_fingerprint, run, provenance, rule)
        gallery = cls.open(uri)
        gallery.check_model(model_fingerprint)
        if rule is not None:
            gallery.check_terms(rule)
        missing = set(rows.canonical_names(subsets)) - set(gallery.subsets)
        if missing or gallery.dim != dim:
            raise GalleryError(
                f"{uri}: indexes {', '.join(gallery.subsets)} at {gallery.dim} dimensions, not "
                f"{', '.join(sorted(missing)) or 'these subsets'} at {dim}. Choose another "
                "index.gallery."
            )
        return gallery

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self.metadata.dim

    @property
    def subsets(self) -> tuple[str, ...]:
        """Canonical names of the indexed subsets."""
        return self.metadata.subsets

    @property
    def version(self) -> int:
        """The newest committed version; it only grows."""
        with _readable_errors(self.uri):
            return int(self._dataset().version)

    def check_model(self, fingerprint: str) -> None:
        """Raise GalleryError unless vectors of this model may be stored and compared here."""
        if fingerprint != self.metadata.model_fingerprint:
            raise GalleryError(
                f"{self.uri}: its vectors are of model {self.metadata.model_fingerprint} (run "
                f"{self.metadata.run}), not of {fingerprint}; vectors of two models cannot be "
                "compared. "
                "Use that run, or index anew with this one into another index.gallery."
            )

    def check_terms(self, rule: ComparisonRule) -> None:
        """Raise GalleryError unless its items are compared by this rule; older galleries have none."""
        if self.metadata.comparison is None:
            return
        remedy = "Index anew with this run into another index.gallery, or use the version that made it."
        try:
            own = ComparisonRule.from_json(self.metadata.comparison)
        except UsageError as error:
            raise GalleryError(f"{_note(self.uri)}: comparison: {error} {remedy}") from None
        if own != rule:
            raise GalleryError(
                f"{self.uri}: its items are compared by other terms ({own.summary}) than the model's "
                f"({rule.summary}). {remedy}"
            )

    def add(self, items: Iterable[Item]) -> int:
        """Insert items, replacing rows of the same id, as one atomic version; returns it. Ids are tidied.

        Raises GalleryError for vectors of another model or a malformed item; then nothing is
        stored.
        """
        batch = [replace(item, id=tidy(item.id)) for item in items]
        for item in batch:
            self.check_model(item.model_fingerprint)
        table = rows.to_table(batch, self.dim, self.subsets)
        if not batch:
            return self.version
        with self._lock, _readable_errors(self.uri):
            dataset = self._dataset()
            self._upsert(dataset, table)
            version = int(dataset.version)
            if len(dataset.get_fragments()) > _FRAGMENTS_BEFORE_COMPACTION:
                version = self._tidy(dataset)
        return version

    def delete(self, ids: Iterable[str]) -> int:
        """Remove items for good and return how many there were.

        The rows leave the table, then `purge` rewrites the files that held them and drops all old
        versions.
        """
        given = set(ids)
        wanted = sorted(given | set(map(tidy, given)))  # older galleries hold ids as they were given
        if not wanted:
            return 0
        quoted = ", ".join("'" + i.replace("'", "''") + "'" for i in wanted)
        with self._lock, _readable_errors(self.uri):
            removed = int(self._dataset().delete(f"id IN ({quoted})")["num_deleted_rows"])
        # Even when nothing was there: a kill between the two steps is mended by deleting again.
        self.purge()
        return removed

    def purge(self, unfinished: bool = False) -> None:
        """Rewrite files with deleted or replaced rows and remove every version but the newest.

        A writer killed in mid-add leaves a file that no version names; it goes after 7 days, or now
        with `unfinished`, which must not be asked while another process writes.
        """

        def step() -> None:
            dataset = self._dataset()
            dataset.optimize.compact_files(
                target_rows_per_fragment=ROWS_PER_FRAGMENT, materialize_deletions_threshold=0.0
            )
            dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=unfinished)

        with self._lock, _readable_errors(self.uri):
            _retry_conflicts(step)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """A consistent, immutable view of the newest (or the given) version.

        Raises VersionGone, a GalleryError, if the version was never there or has been purged.
        """
        return Snapshot(_table(self.uri), storage_options(self.uri), self.dim, self.subsets, version)

    def count(self) -> int:
        """Number of items in the newest version."""
        with _readable_errors(self.uri):
            return int(self._dataset().count_rows())

    def _dataset(self) -> Any:
        import lance

        return lance.dataset(_table(self.uri), storage_options=storage_options(self.uri))

    @staticmethod
    def _upsert(dataset: Any, table: pa.Table) -> None:
        merge = dataset.merge_insert("id")
        merge.when_matched_update_all().when_not_matched_insert_all().execute(table)

    @staticmethod
    def _tidy(dataset: Any) -> int:
        _retry_conflicts(lambda: dataset.optimize.compact_files(target_rows_per_fragment=ROWS_PER_FRAGMENT))
        dataset.cleanup_old_versions(older_than=_KEEP_OLD_VERSIONS)
        return int(dataset.version)


def storage_options(uri: str) -> dict[str, str]:
    """Lance's options for s3:// from the standard AWS variables; empty for a local path."""
    if not storage.is_remote(uri):
        return {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options = {"aws_region": region}
    if endpoint:
        options |= {
            "aws_endpoint": endpoint,
            "allow_http": str(endpoint.startswith("http://")).lower(),
        }
    return options


def _note(uri: str) -> str:
    return storage.join(uri, NOTE)


def _table(uri: str) -> str:
    return storage.join(uri, "rows.lance")


def _retry_conflicts(step: Callable[[], Any]) -> None:
    for attempt in range(_CONFLICT_RETRIES):
        try:
            step()
            return
        except (OSError, RuntimeError, ValueError) as error:
            if "conflict" not in str(error).lower() or attempt == _CONFLICT_RETRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)


@contextmanager
def _readable_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if (told := storage.refusal(uri, error)) is not None:
            raise told from error
        first = str(error).splitlines()[0].split(", /")[0] if str(error) else type(error).__name__
        raise StorageError(f"{uri}: the gallery cannot be read or written ({first}).") from error
