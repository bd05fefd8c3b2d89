"""What a shard set says about itself: the statistics of a shard, and the manifest that publishes all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
)

from reid.data.shards.counting import uniform
from reid.modality import Subset

MANIFEST = "MANIFEST.json"
QUARANTINE = "quarantine.parquet"

QUARANTINE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("pid", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("files", pa.list_(pa.string())),
    ]
)


class RowGroup(BaseModel):
    """Where whole identities lie: [dataset, pid, rows] each."""

    rows: int
    identities: list[tuple[str, int, int]]
    subsets: list[dict[str, int]] | None = None
    """Rows of each identity by the modalities they have, e.g. {"rgb+text": 3, "nir": 2}; left out where
    `Shard.modalities` tells that all rows have the same."""

    @model_serializer(mode="wrap")
    def _lean(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = dump(self)
        if self.subsets is None:
            tree.pop("subsets", None)
        return tree


class MadeBy(BaseModel):
    """What made one target of a shard; `key` changes when anything that its rows depend on does."""

    key: str
    generator: str
    params_hash: str
    missing_only: bool = True


class NotedPictures(BaseModel):
    """Pictures that were read, but of which something should be told: how many, and the first one."""

    count: int
    first: str


class Shard(BaseModel):
    """One Parquet file: all rows of one split."""

    key: str
    file: str
    split: str
    rows: int
    bytes: int
    sha256: str
    row_groups: list[RowGroup]
    modalities: dict[str, dict[str, int]]  # modality -> origin -> count
    quarantined: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}  # of one worker, by stage
    worked: dict[str, int] = {}  # rows that each stage worked on, by stage
    captions: dict[str, int] = {}  # what became of generated captions: made, good, again, dropped, kept, why
    notes: dict[str, NotedPictures] = {}  # by kind, see reid.data.images.notes
    source_key: str = ""  # of the records and what reads them, without generators
    made: dict[str, MadeBy] = {}  # target -> its generator
    donor: str | None = None  # the earlier shard that the rows were taken from
    kept: list[str] = []  # targets taken from the donor as they were
    base: str | None = None  # the shard of which this is a copy without some rows
    cameras: list[int] | None = (
        None  # the known ones of its rows, sorted; None: written before they were kept
    )
    digests: str = ""  # base64: 16 bytes a row, of its first captured picture; not in the manifest

    @field_validator("seconds", mode="before")
    @classmethod
    def _in_all(cls, value: Any) -> Any:
        """Sets of before stages were timed have one number."""
        return {"all": value} if isinstance(value, int | float) else value

    @property
    def uniform(self) -> Subset | None:
        """The modalities of every row, when the counts tell that all rows have the same; else None."""
        return uniform(self.modalities, self.rows)


class Manifest(BaseModel):
    """What a shard set holds and how it was made.

    MANIFEST.json has all but the shards and the rejected rows, which lie in files beside it; those of earlier
    versions have everything.
    """

    schema_version: str
    dataset: str
    fingerprint: str
    source: str
    generators: dict[str, dict[str, Any]]
    shards: Sequence[Shard]
    counts: dict[str, dict[str, int]]  # split -> {rows, identities, cameras, single_image_identities}
    quarantined: int
    quarantine_rows: Sequence[dict[str, Any]] = []
    config: dict[str, Any] = {}
    seconds: dict[str, float] = {}  # of one worker, by stage, summed over the shards
    worked: dict[str, int] = {}  # rows, likewise
    captions: dict[str, int] = {}  # summed over the shards
    notes: dict[str, NotedPictures] = {}  # summed over the shards
    duplicates: dict[str, int] = {}  # see reid.dataset.duplicates
    warnings: list[str] = []
    lineage: dict[str, Any] = {}  # reader, code and versions; created_at is when it was first published
    tables: dict[str, dict[str, Any]] = {}  # see reid.data.shards.manifest_files

    @field_validator("shards", mode="plain")
    @classmethod
    def _shards(cls, value: Any) -> Sequence[Shard]:
        """A list is checked; a table of shards stays one."""
        return [Shard.model_validate(one) for one in value] if isinstance(value, list | tuple) else value

    @field_validator("quarantine_rows", mode="plain")
    @classmethod
    def _rows(cls, value: Any) -> Sequence[dict[str, Any]]:
        return value  # type: ignore[no-any-return]

    @field_serializer("shards", "quarantine_rows")
    def _as_they_are(self, value: Sequence[Any]) -> Sequence[Any]:
        return value

    def heading(self) -> dict[str, Any]:
        """What MANIFEST.json holds, without the names of the tables."""
        return self.model_dump(mode="json", exclude={"shards", "quarantine_rows", "tables"})
