"""Verifies a published set: every file against the manifest, every row against the schema."""

from __future__ import annotations

import hashlib
import io
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from reid import storage
from reid.data.images import open_image
from reid.data.shards import schema
from reid.data.shards.counting import by_identity, identity_counts, modality_counts
from reid.data.shards.manifest import Shard
from reid.data.shards.manifest_files import ManifestFile, damaged_tables
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet, row_order
from reid.dataset.stages.writing import data_uri
from reid.errors import DataError, StorageError

Ids = npt.NDArray[np.uint64]
EXAMPLES = 5
"""Most problems of one kind that are told of a shard."""
_COMPARED = 2**20
"""Hashes compared at a time."""


class ShardCheck(BaseModel):
    """The problems of one shard, one sentence each; `ids` are hashes of its sample ids, as hex."""

    key: str
    problems: list[str]
    rows: int = 0
    pictures: int = 0
    ids: str = ""

    @property
    def hashes(self) -> Ids:
        """(rows,) 64-bit hashes of the sample ids."""
        return np.frombuffer(bytes.fromhex(self.ids), dtype=np.uint64)


class SetVerdict(BaseModel):
    """The result of `judge_shards`: problems by file, empty when the set is sound."""

    rows: int
    pictures: int
    shards: int
    problems: dict[str, list[str]]
    damaged: list[str]  # keys of shards that a build must make again
    stray: list[str]  # files that no manifest names: rests of a killed build, or of an earlier recipe

    @property
    def sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def check_shard(root: str, shard: Shard, share: float = 1.0, seed: int = 0) -> ShardCheck:
    """Read one shard and compare it with its statistics; decode the pictures of a share of its rows.

    Problems are returned, not raised; only a storage that cannot be reached raises StorageError.
    """
    uri = data_uri(root, shard.file)
    if not storage.exists(uri):
        return ShardCheck(key=shard.key, problems=["the file is missing"])
    data = storage.read_bytes(uri)
    if len(data) != shard.bytes:
        return ShardCheck(key=shard.key, problems=[f"{len(data):,} bytes, not {shard.bytes:,}"])
    if storage.sha256(data) != shard.sha256:
        return ShardCheck(key=shard.key, problems=["its content changed since it was written (sha256)"])
    try:
        groups = list(_groups(data, uri))
    except (DataError, pa.ArrowException, OSError) as error:
        return ShardCheck(key=shard.key, problems=[f"not readable as a shard ({error})"])
    samples = [s for group in groups for s in group]
    problems = [*_index_problems(shard, groups), *_few(_row_problems(shard, samples))]
    chosen = _chosen(samples, share, f"{seed}/{shard.key}")
    problems += _few(_picture_problems(chosen))
    ids = np.array([_id_hash(s.labels.sample_id) for s in samples], dtype=np.uint64)
    return ShardCheck(
        key=shard.key,
        problems=problems,
        rows=len(samples),
        pictures=sum(len(s.images) + (s.mask is not None) for s in chosen),
        ids=ids.tobytes().hex(),
    )


def judge_shards(shards: ShardSet, checks: Iterable[ShardCheck]) -> SetVerdict:
    """Combine the shards' checks with checks of the whole set."""
    files = dict(zip(shards.stored.column("key"), shards.stored.column("file"), strict=True))
    problems: dict[str, list[str]] = {}
    damaged, ids = [], array("Q")
    rows = pictures = 0
    for check in checks:
        rows, pictures = rows + check.rows, pictures + check.pictures
        ids.frombytes(check.hashes.tobytes())
        if check.problems:
            problems[f"data/{files[check.key]}"] = check.problems
            damaged.append(check.key)
    repeated = _repeated(ids)
    of_set = [f"{repeated} sample ids occur in more than one row"] if repeated else []
    counted = sum(c["rows"] for c in shards.manifest.counts.values())
    if not damaged and counted != rows:
        of_set.append(f"the manifest counts {counted} rows, the shards have {rows}")
    given = {name: ManifestFile.model_validate(table) for name, table in shards.manifest.tables.items()}
    of_set += damaged_tables(shards.root, given)
    if of_set:
        problems["MANIFEST.json"] = of_set
    if wrong := _quarantine_problems(shards):
        problems["quarantine.parquet"] = wrong
    known = {name for key, file in files.items() for name in (file, f"{key}.json")}
    there = [uri.rsplit("/", 1)[-1] for uri in storage.list_files(storage.join(shards.root, "data"))]
    return SetVerdict(
        rows=rows,
        pictures=pictures,
        shards=len(files),
        problems=problems,
        damaged=damaged,
        stray=[name for name in there if name not in known],
    )


def _repeated(ids: array[int]) -> int:
    """How many hashes equal an earlier one; they are sorted where they are, 8 bytes a row of the set."""
    if not ids:
        return 0
    hashes = np.frombuffer(ids, np.uint64)
    hashes.sort()
    parts = (hashes[start : start + _COMPARED + 1] for start in range(0, len(hashes), _COMPARED))
    return sum(int((part[1:] == part[:-1]).sum()) for part in parts)


def discard_statistics(shards: ShardSet, keys: Sequence[str]) -> None:
    """Delete the statistics of damaged shards, so that the next build makes them again."""
    for key in keys:
        storage.delete_file(data_uri(shards.root, f"{key}.json"))


def _groups(data: bytes, uri: str) -> Iterator[list[Sample]]:
    file = pq.ParquetFile(io.BytesIO(data))
    schema.check_version(file.schema_arrow.metadata, uri)
    schema.check_columns(file.schema_arrow, uri)
    for index in range(file.num_row_groups):
        yield schema.decode(file.read_row_group(index))


def _index_problems(shard: Shard, groups: Sequence[Sequence[Sample]]) -> list[str]:
    """Where the manifest's index of identities and the rows disagree."""
    found = []
    if len(groups) != len(shard.row_groups):
        return [f"{len(groups)} row groups, the manifest has {len(shard.row_groups)}"]
    for index, (group, known) in enumerate(zip(groups, shard.row_groups, strict=True)):
        if identity_counts(group) != [tuple(i) for i in known.identities]:
            found.append(f"row group {index} holds other identities than the manifest lists")
    samples = [s for group in groups for s in group]
    if samples != sorted(samples, key=row_order):
        found.append("the rows are not sorted by identity, camera and sample id")
    if len(by_identity(samples)) < sum(len(g.identities) for g in shard.row_groups):
        found += [
            f"identity {identity} lies in several row groups though none is as large"
            for identity in _split(shard)
        ]
    if modality_counts(samples) != shard.modalities:
        found.append("counts of modalities differ from the manifest")
    return found


def _split(shard: Shard) -> list[tuple[str, int]]:
    """Identities in several row groups, at least one of which holds others, too."""
    where = Counter((d, p) for g in shard.row_groups for d, p, _ in g.identities)
    alone = {(g.identities[0][0], g.identities[0][1]) for g in shard.row_groups if len(g.identities) == 1}
    return [identity for identity, n in where.items() if n > 1 and identity not in alone][:EXAMPLES]


def _row_problems(shard: Shard, samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        name = sample.labels.sample_id
        if sample.labels.split != shard.split:
            yield f"{name}: split {sample.labels.split} in a shard of {shard.split}"
        for problem in schema.validate(sample):
            yield f"{name}: {problem}"
        for target, made in shard.made.items():
            if made.missing_only:  # what the source brought along may have been generated otherwise
                continue
            image = next((i for m, i in sample.images.items() if m.value == target), None)
            if image is not None and image.origin == "generated" and image.params_hash != made.params_hash:
                yield f"{name}: {target} was made with other parameters than the manifest lists"


def _picture_problems(samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        name = sample.labels.sample_id
        for modality, image in sample.images.items():
            try:
                size = open_image(image.image, f"{name}: {modality.value}").size
            except DataError as error:
                yield str(error)
                continue
            if size != (image.width, image.height):
                yield f"{name}: {modality.value} is {size[0]}x{size[1]}, not {image.width}x{image.height}"
        if sample.mask is not None:
            try:
                open_image(sample.mask.image, f"{name}: mask")
            except DataError as error:
                yield str(error)


def _chosen(samples: Sequence[Sample], share: float, seed: str) -> list[Sample]:
    if share >= 1:
        return list(samples)
    draw = random.Random(seed)
    return [s for s in samples if draw.random() < share]


def _few(problems: Iterator[str]) -> list[str]:
    found = list(problems)
    more = [f"… and {len(found) - EXAMPLES} more like these"] if len(found) > EXAMPLES else []
    return found[:EXAMPLES] + more


def _quarantine_problems(shards: ShardSet) -> list[str]:
    try:
        rows = len(shards.quarantine())
    except (StorageError, pa.ArrowException) as error:
        return [f"not readable ({error})"]
    known = shards.manifest.quarantined
    return [] if rows == known else [f"{rows} rows, the manifest has {known}"]


def _id_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
