"""Publishing a build: the manifest of finished shards, with counts, times, lineage and warnings."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from reid import __version__
from reid.config import Config, fingerprint
from reid.config.addresses import source_hash
from reid.data.images.notes import SUMMARIES
from reid.data.shards.manifest import Manifest, NotedPictures, Shard
from reid.data.shards.schema import SCHEMA_VERSION
from reid.data.shards.shard_set import ShardSet, publish
from reid.dataset.conflicts import ConflictingRow, conflicting_rows, without_conflicts
from reid.dataset.duplicates import find_duplicates
from reid.dataset.recipe import Recipe, reader_code
from reid.dataset.report.summary import first_bad, reason_lines, reason_table
from reid.dataset.shard_plan import ShardPlan
from reid.errors import DataError

_LISTED = 100
"""Conflicts named in the manifest when they are only warned of."""
_SHOWN = 5


def publish_build(
    config: Config, root: str, recipe: Recipe, plans: Sequence[ShardPlan], shards: Sequence[Shard]
) -> tuple[Manifest, list[str]]:
    """Write the manifest of a complete build if anything changed; return it and the warnings.

    Conflicting rows are removed before if the configuration says so. Raises DataError when too many rows were
    rejected; then nothing is published.
    """
    policy = config.build.duplicates
    found = find_duplicates(shards)
    groups: list[list[ConflictingRow]] = []
    if policy != "keep":
        groups = conflicting_rows(root, shards, found, None if policy == "quarantine" else _LISTED)
    served = list(shards)
    if policy == "quarantine":
        served = without_conflicts(root, shards, groups, config.build.rows_per_group)
    conflicts = _conflict_warnings(groups, len(found.conflicts), policy == "quarantine")
    manifest = _manifest(config, recipe, plans, served).model_copy(
        update={"duplicates": found.counts(), "warnings": conflicts}
    )
    warnings = [*_check(plans, manifest, config.build.max_bad_fraction), *conflicts[: _SHOWN + 1]]
    old = _published(root)
    if old is not None and _content(old) == _content(manifest):
        return old, warnings
    publish(root, manifest)
    return manifest, warnings


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
    config: Config, recipe: Recipe, plans: Sequence[ShardPlan], shards: Sequence[Shard]
) -> Manifest:
    counts: dict[str, dict[str, int]] = {}
    for split in dict.fromkeys(s.split for s in shards if s.rows):
        mine = [s for s in shards if s.split == split]
        rows: Counter[tuple[str, int]] = Counter()
        for shard in mine:
            for group in shard.row_groups:
                for dataset, pid, count in group.identities:
                    rows[dataset, pid] += count
        counts[split] = {
            "rows": sum(s.rows for s in mine),
            "identities": len(rows),
            "single_image_identities": sum(n == 1 for n in rows.values()),
        }
    keys = [plan.key for plan in plans]
    withheld = [shard.key for shard in shards if shard.base is not None]
    seconds: Counter[str] = Counter()
    worked: Counter[str] = Counter()
    captions: Counter[str] = Counter()
    notes: dict[str, NotedPictures] = {}
    for shard in shards:
        for kind, noted in shard.notes.items():
            known = notes.get(kind, NotedPictures(count=0, first=noted.first))
            notes[kind] = NotedPictures(count=known.count + noted.count, first=known.first)
        seconds.update(shard.seconds)
        worked.update(shard.worked)
        captions.update(shard.captions)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=config.data.name,
        fingerprint=fingerprint(keys, __version__, *([withheld] if withheld else [])),
        source=fingerprint(config.data.reader),
        generators=_generators(config, recipe),
        shards=[s.model_copy(update={"digests": ""}) for s in shards if s.rows],
        counts=counts,
        quarantined=sum(len(s.quarantined) for s in shards),
        quarantine_rows=[row for s in shards for row in s.quarantined],
        config={"build": config.build.content(), "data": config.data.sensors()},
        seconds={name: round(value, 3) for name, value in sorted(seconds.items())},
        worked=dict(sorted(worked.items())),
        captions=dict(sorted(captions.items())),
        notes=dict(sorted(notes.items())),
        lineage=lineage(config, recipe),
    )


def _content(manifest: Manifest) -> Manifest:
    """All but when and with which versions it was published: the same rows keep their manifest."""
    return manifest.model_copy(update={"lineage": {}})


def _published(root: str) -> Manifest | None:
    try:
        return ShardSet.at(root).manifest
    except DataError:
        return None


def _check(plans: Sequence[ShardPlan], manifest: Manifest, most_bad: float) -> list[str]:
    total = sum(len(p.records) for p in plans)
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
