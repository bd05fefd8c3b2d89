"""Publishing a build: the manifest of finished shards, with counts, times, lineage and warnings."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa

from reid import __version__
from reid.config import Config, fingerprint
from reid.config.addresses import source_hash
from reid.data.images.notes import SUMMARIES
from reid.data.shards.manifest import Manifest, NotedPictures, Shard
from reid.data.shards.manifest_files import ManifestFile, write_tables
from reid.data.shards.published import QuarantineTable
from reid.data.shards.schema import SCHEMA_VERSION
from reid.data.shards.shard_set import ShardSet, publish
from reid.data.shards.shard_table import ShardTable, ShardTableBuilder
from reid.dataset.built_shards import BuiltShards, CollectedShards, aside_table, in_order, renumbered
from reid.dataset.conflicts import ConflictingRow, conflict_copies, conflicting_rows
from reid.dataset.duplicates import find_duplicates
from reid.dataset.planning.plan_table import PlanTable
from reid.dataset.recipe import Recipe, reader_code
from reid.dataset.report.summary import first_bad, reason_lines, reason_table
from reid.errors import DataError, StorageError

_LISTED = 100
"""Conflicts named in the manifest when they are only warned of."""
_SHOWN = 5


def publish_build(
    config: Config, root: str, recipe: Recipe, plans: PlanTable, built: BuiltShards
) -> tuple[Manifest, list[str]]:
    """Write the manifest of a complete build if anything changed; return it and the warnings.

    Conflicting rows are removed before if the configuration says so. Raises DataError when too many rows were
    rejected; then nothing is published.
    """
    policy = config.build.duplicates
    shards = built.collected(list(plans.keys()))
    found = find_duplicates(shards)
    groups: list[list[ConflictingRow]] = []
    if policy != "keep":
        groups = conflicting_rows(root, shards.table, found, None if policy == "quarantine" else _LISTED)
    copies: dict[int, Shard] = {}
    if policy == "quarantine":
        copies = conflict_copies(root, shards.table, groups, config.build.rows_per_group)
    conflicts = _conflict_warnings(groups, len(found.conflicts), policy == "quarantine")
    manifest = _manifest(config, recipe, plans, shards, copies).model_copy(
        update={"duplicates": found.counts(), "warnings": conflicts}
    )
    warnings = [*_check(plans, manifest, config.build.max_bad_fraction), *conflicts[: _SHOWN + 1]]
    tables = write_tables(root, ShardTable.of(manifest.shards))
    old = _published(root)
    if old is not None and _same(root, old, manifest, tables):
        return old, warnings
    publish(root, manifest, tables)
    return ShardSet.at(root).manifest, warnings


def kept_names(manifest: Manifest) -> set[str]:
    """What a published manifest needs in its folder: keys of shards, and names of tables."""
    tables = (str(table["file"]).rsplit("/", 1)[-1] for table in manifest.tables.values())
    return {*ShardTable.of(manifest.shards).column("key"), *tables}


def lineage(config: Config, recipe: Recipe) -> dict[str, Any]:
    """The origin of the rows: reader and generators with their code, and software versions."""
    packages = ("numpy", "pillow", "pyarrow", "torch", "transformers")
    return {
        "reader": {**config.data.reader.model_dump(mode="json"), "code": reader_code(config)},
        "source": fingerprint(config.data.reader),
        "generators": _generators(config, recipe),
        "code": {
            "reid.dataset": source_hash("reid.dataset"),
            "reid.data.shards.schema": source_hash("reid.data.shards.schema"),
        },
        "versions": {
            "anyreid": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _generators(config: Config, recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {
        step.target.value: {
            "generator": step.bound.entry.name,
            "params": step.bound.params,
            "params_hash": step.bound.params_hash,
            "code": step.bound.entry.source_hash(),
            "missing_only": step.section.missing_only,
            "seed": config.build.seed,
            "needs": [need.value for need in step.needs],
            "license_note": step.bound.entry.license_note,
            "key": step.key,
        }
        for step in recipe.steps
    }


def _manifest(
    config: Config,
    recipe: Recipe,
    plans: PlanTable,
    shards: CollectedShards,
    copies: Mapping[int, Shard],
) -> Manifest:
    table, aside = shards.table, shards.aside
    if copies:
        table = ShardTableBuilder.of(copies.get(place, one) for place, one in enumerate(table)).table()
        whole = np.arange(len(table))
        whole[list(copies)] = -1
        own = aside_table({place: copy.quarantined for place, copy in copies.items()})
        aside = in_order(pa.concat_tables([renumbered(aside, whole), own]))
    filled = np.flatnonzero(table.numbers("rows") > 0)
    served = table if len(filled) == len(table) else table.take(filled.tolist())
    keys = list(plans.keys())
    withheld = [copies[place].key for place in sorted(copies)]
    notes: dict[str, NotedPictures] = {}
    for _, told in sorted(shards.notes.items()):
        for kind, noted in told.items():
            known = notes.get(kind, NotedPictures(count=0, first=noted.first))
            notes[kind] = NotedPictures(count=known.count + noted.count, first=known.first)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=config.data.name,
        fingerprint=fingerprint(keys, __version__, *([withheld] if withheld else [])),
        source=fingerprint(config.data.reader),
        generators=_generators(config, recipe),
        shards=served,
        counts=_counts(served),
        quarantined=aside.num_rows,
        quarantine_rows=QuarantineTable(aside.drop_columns(["shard"])),
        config={"build": config.build.content(), "data": config.data.sensors()},
        seconds=shards.sums.seconds,
        worked=dict(sorted(shards.sums.worked.items())),
        captions=dict(sorted(shards.sums.captions.items())),
        notes=dict(sorted(notes.items())),
        lineage=lineage(config, recipe),
    )


def _counts(shards: ShardTable) -> dict[str, dict[str, int]]:
    """Split -> its rows, identities, and identities of a single row."""
    found: dict[str, dict[str, int]] = {}
    for split in shards.splits:
        mine = np.zeros(len(shards), bool)
        mine[shards.of_split(split)] = True
        identities = shards.identities.take(np.flatnonzero(mine[shards.identities.shard])).by_identity()
        found[split] = {
            "rows": int(shards.numbers("rows")[mine].sum()),
            "identities": len(identities),
            "single_image_identities": int((identities.numbers == 1).sum()),
        }
    return found


def _same(root: str, old: Manifest, new: Manifest, tables: Mapping[str, ManifestFile]) -> bool:
    """Whether all but when and with which versions it was published is equal: the same rows keep their
    manifest. A lost or damaged file of rejected rows makes a difference, so that it is written anew.
    """
    headings = ({**one.heading(), "lineage": {}} for one in (old, new))
    named = {name: table.model_dump() for name, table in tables.items()}
    first, second = headings
    if first != second or old.tables != named:
        return False
    try:
        return QuarantineTable.at(root) == new.quarantine_rows
    except (StorageError, pa.ArrowException):
        return False


def _published(root: str) -> Manifest | None:
    try:
        return ShardSet.at(root).manifest
    except DataError:
        return None


def _check(plans: PlanTable, manifest: Manifest, most_bad: float) -> list[str]:
    total = plans.rows
    bad, rows = manifest.quarantined, manifest.quarantine_rows
    if bad == total:
        raise DataError(f"All {total} rows are bad, nothing is published. First: {first_bad(rows)}")
    if bad > most_bad * total:
        table = "\n".join(reason_lines(reason_table(rows), _SHOWN))
        raise DataError(
            f"{bad} of {total} rows are bad, over build.max_bad_fraction={most_bad}; nothing is published. "
            f"Mend the source, or raise build.max_bad_fraction to go on without them.\n{table}"
        )
    warnings = [
        f"{n} identities of split {split} have a single image: they cannot be found again."
        for split, counts in manifest.counts.items()
        if (n := counts["single_image_identities"])
    ]
    warnings += [
        f"{noted.count} {SUMMARIES.get(kind, kind)}; first: {noted.first}"
        for kind, noted in manifest.notes.items()
    ]
    if bad:
        warnings.append(f"{bad} of {total} rows were set aside; first: {first_bad(rows)}")
    return warnings


def _conflict_warnings(groups: Sequence[Sequence[ConflictingRow]], pictures: int, aside: bool) -> list[str]:
    if not groups:
        return []
    remedy = (
        "they are set aside"
        if aside
        else "correct the labels, or leave them out by build.duplicates=quarantine"
    )
    messages = [f"{pictures} pictures have several identities, of which all but one are wrong; {remedy}."]
    for group in groups[:_LISTED]:
        names = ", ".join(f"{c.sample_id!r} (identity {c.identity[1]})" for c in group)
        messages.append(f"label conflict: the same picture is {names}")
    if pictures > _LISTED:
        messages.append(f"… and {pictures - _LISTED} more pictures with several identities")
    return messages
