"""Build: raw samples -> generated modalities -> a published shard set, on Ray Data.

A block is a whole shard from the first stage to the last: labels were sorted when the shards were planned,
so pixels are never shuffled. A bad row travels on with its reason and ends in the quarantine. A shard is
finished when its statistics file exists; the manifest publishes all of them at once.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray.data
from pydantic import ValidationError

from pipelines.context import map_blocks
from pipelines.progress import Progress, Say, say
from reid import __version__, storage
from reid.addresses import shards_uri, source_hash
from reid.config import Config, GenerateConfig, fingerprint
from reid.data import schema
from reid.data.images import decode_rgb, encode_png
from reid.data.plan import ShardPlan, plan_shards
from reid.data.readers.base import Record, open_reader
from reid.data.schema import SCHEMA_VERSION, Image, Sample
from reid.data.shards import Manifest, Shard, ShardSet, publish, write_shard
from reid.errors import AnyReIDError, DataError, StorageError
from reid.generate.base import BoundGenerator, bind
from reid.modality import Modality

_WORK = [
    pa.field("error", pa.string()),
    pa.field("error_stage", pa.string()),
    pa.field("files", pa.list_(pa.string())),
    pa.field("plan", pa.string()),
    pa.field("started", pa.float64()),
]
WORK_SCHEMA = pa.schema([*schema.SCHEMA, *_WORK])
PLAN_SCHEMA = pa.schema([("plan", pa.string()), ("records", pa.string())])


@dataclass(frozen=True)
class BuildResult:
    """A published set and what this call did for it."""

    shards: ShardSet
    built: int
    reused: int
    warnings: list[str]


def recipe(config: Config) -> dict[str, Any]:
    """Everything besides the records that a shard's content depends on."""
    reader = f"reid.data.readers.{config.data.reader.name}"
    generators = {m.value: [g.entry.name, g.params_hash] for m, g in bound_generators(config).items()}
    return {
        "schema": SCHEMA_VERSION,
        "code": source_hash(reader, "reid.data.schema", "reid.data.images"),
        "generators": generators,
        "build": config.build.model_dump(mode="json", exclude={"concurrency", "max_bad_fraction"}),
    }


def bound_generators(config: Config) -> dict[Modality, BoundGenerator]:
    """The configured generators with checked parameters."""
    return {m: bind(m, section) for m, section in config.build.generate.items()}


def build(config: Config, out: Say = say, ready: Callable[[], None] = lambda: None) -> BuildResult:
    """Bring the config's shard set up to date; finished shards are reused.

    `ready` is called once before Ray is needed, that is, only when something is missing.
    Raises DataError when too many rows are bad; nothing is published then.
    """
    root = shards_uri(config)
    reader = open_reader(config.data.reader, config.data.name)
    plans = plan_shards(reader, recipe(config), config.build.rows_per_shard)
    finished = {plan.key: _finished(root, plan) for plan in plans}
    missing = [plan for plan in plans if finished[plan.key] is None]
    total = sum(len(p.records) for p in missing)
    if missing:
        out(f"build: {len(plans)} shards, {len(plans) - len(missing)} already there, {total} rows to do")
        ready()
        progress = Progress("build", total, out=out)
        for shard in _run(config, root, missing):
            finished[shard.key] = shard
            progress.add(shard.rows + len(shard.quarantined))
    shards = [s for plan in plans if (s := finished[plan.key]) is not None]
    manifest = _manifest(config, plans, shards)
    warnings = _warnings(plans, manifest, config.build.max_bad_fraction)
    current = _current(root)
    if current is None or current.manifest != manifest:
        publish(root, manifest)
    return BuildResult(ShardSet.open(root), len(missing), len(plans) - len(missing), warnings)


def describe_build(config: Config) -> dict[str, Any]:
    """What `build` would do, without doing it."""
    root = shards_uri(config)
    reader = open_reader(config.data.reader, config.data.name)
    plans = plan_shards(reader, recipe(config), config.build.rows_per_shard)
    done = sum(_finished(root, plan) is not None for plan in plans)
    rows = Counter(p.split for p in plans for _ in p.records)
    return {"shards": root, "planned": len(plans), "finished": done, "rows": dict(rows)}


def _run(config: Config, root: str, plans: list[ShardPlan]) -> Iterator[Shard]:
    """Stream the missing shards through the stages; yields each as it is written."""
    tables = [
        pa.table(
            {"plan": [p.key], "records": [json.dumps([_record_json(r) for r in p.records])]},
            schema=PLAN_SCHEMA,
        )
        for p in plans
    ]
    tree = config.model_dump(mode="json")
    dataset: ray.data.Dataset = ray.data.from_arrow(tables)
    stages: list[tuple[Callable[..., pa.Table], dict[str, Any]]] = [(read_stage, {"tree": tree})]
    for modality in config.build.generate:
        stages.append((generate_stage, {"tree": tree, "target": modality.value}))
    stages.append((write_stage, {"tree": tree, "root": root}))
    for function, arguments in stages:
        dataset = map_blocks(
            dataset,
            function,
            fn_kwargs=arguments,
            batch_size=None,
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=config.build.concurrency),
        )
    for row in dataset.iter_rows():
        yield Shard.model_validate_json(row["shard"])


def read_stage(batch: pa.Table, tree: dict[str, Any]) -> pa.Table:
    """A shard plan -> its samples as rows, bad ones with a reason."""
    from reid.config import load

    config = load(tree)
    reader = open_reader(config.data.reader, config.data.name)
    tables = []
    for plan, text in zip(batch["plan"].to_pylist(), batch["records"].to_pylist(), strict=True):
        rows = []
        for item in json.loads(text):
            record = _record(item)
            sample, error = Sample(record.labels, {}), record.problem
            if error is None:
                try:
                    sample = reader.load(record, config.build.max_pixels)
                    error = "; ".join(schema.validate(sample)) or None
                except AnyReIDError as problem:
                    if isinstance(problem, StorageError) and not _file_is_bad(problem):
                        raise
                    error = str(problem)
            files = list(dict.fromkeys(record.images.values()))  # one strip may hold every modality
            rows.append(_Row(sample, error, "read" if error else None, files))
        tables.append(_encode(rows, plan, time.time()))
    return pa.concat_tables(tables)


def _file_is_bad(problem: StorageError) -> bool:
    """Whether the file is missing or closed to us; otherwise the storage failed, and the row may be good."""
    return isinstance(problem.__cause__, FileNotFoundError | PermissionError | IsADirectoryError)


def generate_stage(batch: pa.Table, tree: dict[str, Any], target: str) -> pa.Table:
    """Make one modality from the RGB image, for the rows that lack it."""
    from reid.config import load

    config = load(tree)
    modality = Modality(target)
    section = config.build.generate[modality]
    generator = bind(modality, section)
    rows = [_generate(row, generator, section, config.build.seed) for row in _decode(batch)]
    return _encode(rows, batch["plan"][0].as_py(), batch["started"][0].as_py())


def _generate(row: _Row, generator: BoundGenerator, section: GenerateConfig, seed: int) -> _Row:
    sample = row.sample
    has = generator.target in sample.images and section.missing_only
    if row.error or has or Modality.RGB not in sample.images:
        return row
    name = sample.labels.sample_id
    try:
        pixels = decode_rgb(sample.images[Modality.RGB].image, name)
        made = generator(pixels, sample.content_hash or name, seed)
    except (AnyReIDError, ValueError, ArithmeticError) as problem:
        return _Row(sample, f"{generator.entry.name}: {problem}", generator.target.value, row.files)
    image = Image(
        image=encode_png(made),
        width=made.shape[1],
        height=made.shape[0],
        origin="generated",
        generator=generator.entry.name,
        params_hash=generator.params_hash,
        source_id=name,
    )
    images = {**sample.images, generator.target: image}
    return _Row(
        Sample(sample.labels, images, sample.captions, sample.mask, sample.content_hash),
        None,
        None,
        row.files,
    )


def write_stage(batch: pa.Table, tree: dict[str, Any], root: str) -> pa.Table:
    """Write a shard and, after it, its statistics file; one row with the statistics comes back."""
    from reid.config import load

    config = load(tree)
    plan, started = batch["plan"][0].as_py(), batch["started"][0].as_py()
    rows = _decode(batch)
    good = [row.sample for row in rows if row.error is None]
    bad = [_quarantine_row(row) for row in rows if row.error is not None]
    uri = storage.join(root, "data", f"{plan}.parquet")
    shard = write_shard(good, uri, plan, config.build.rows_per_group, bad)
    shard = shard.model_copy(update={"seconds": round(time.time() - started, 3)})
    storage.write_json(_statistics(root, plan), shard.model_dump(mode="json"))
    return pa.table({"shard": [shard.model_dump_json()]})


@dataclass(frozen=True)
class _Row:
    """A sample between stages; `error` says why it will be set aside."""

    sample: Sample
    error: str | None
    stage: str | None
    files: list[str]


def _encode(rows: list[_Row], plan: str, started: float) -> pa.Table:
    table = schema.encode([r.sample for r in rows])
    extra: dict[str, list[Any]] = {
        "error": [r.error for r in rows],
        "error_stage": [r.stage for r in rows],
        "files": [r.files for r in rows],
        "plan": [plan] * len(rows),
        "started": [started] * len(rows),
    }
    for column in _WORK:
        table = table.append_column(column, pa.array(extra[column.name], column.type))
    return table.cast(WORK_SCHEMA)


def _decode(batch: pa.Table) -> list[_Row]:
    samples = schema.decode(batch)
    columns = (batch[name].to_pylist() for name in ("error", "error_stage", "files"))
    return [_Row(s, e, t, f) for s, e, t, f in zip(samples, *columns, strict=True)]


def _quarantine_row(row: _Row) -> dict[str, Any]:
    labels = row.sample.labels
    return {
        "sample_id": labels.sample_id,
        "dataset": labels.dataset,
        "split": labels.split,
        "pid": labels.pid,
        "stage": row.stage,
        "reason": row.error,
        "files": row.files,
    }


def _record_json(record: Record) -> dict[str, Any]:
    return asdict(record)


def _record(tree: dict[str, Any]) -> Record:
    labels = dict(tree["labels"])
    labels["roles"] = None if labels["roles"] is None else tuple(labels["roles"])
    labels["attributes"] = tuple(schema.Attribute(**a) for a in labels["attributes"])
    return Record(
        labels=schema.Labels(**labels),
        images={Modality(m): uri for m, uri in tree["images"].items()},
        captions=tuple(tree["captions"]),
        problem=tree["problem"],
    )


def _statistics(root: str, key: str) -> str:
    return storage.join(root, "data", f"{key}.json")


def _finished(root: str, plan: ShardPlan) -> Shard | None:
    """The shard of a plan if it lies there whole, by statistics of this version."""
    uri = _statistics(root, plan.key)
    if not storage.exists(uri):
        return None
    try:
        shard = Shard.model_validate(storage.read_json(uri))
    except (StorageError, ValidationError):
        return None
    size = storage.stamp(storage.join(root, "data", shard.file)).partition("@")[0]
    return shard if size == str(shard.bytes) else None


def _current(root: str) -> ShardSet | None:
    try:
        return ShardSet.open(root)
    except DataError:
        return None


def _manifest(config: Config, plans: list[ShardPlan], shards: list[Shard]) -> Manifest:
    counts: dict[str, dict[str, int]] = {}
    for split in dict.fromkeys(s.split for s in shards if s.rows):
        mine = [s for s in shards if s.split == split]
        rows = Counter(
            (d, p) for s in mine for g in s.row_groups for d, p, n in g.identities for _ in range(n)
        )
        counts[split] = {
            "rows": sum(s.rows for s in mine),
            "identities": len(rows),
            "single_image_identities": sum(n == 1 for n in rows.values()),
        }
    keys = [plan.key for plan in plans]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=config.data.name,
        fingerprint=fingerprint(keys, __version__),
        source=fingerprint(config.data.reader),
        generators={
            m.value: {"generator": g.entry.name, "params": g.params, "params_hash": g.params_hash}
            for m, g in bound_generators(config).items()
        },
        shards=[s for s in shards if s.rows],
        counts=counts,
        quarantined=sum(len(s.quarantined) for s in shards),
        quarantine_rows=[row for s in shards for row in s.quarantined],
        config={"build": config.build.model_dump(mode="json", exclude={"concurrency"})},
    )


def _warnings(plans: list[ShardPlan], manifest: Manifest, max_bad: float) -> list[str]:
    total = sum(len(p.records) for p in plans)
    bad = manifest.quarantined
    if bad == total:
        raise DataError(f"All {total} rows are bad, nothing is published. First: {_first_bad(manifest)}")
    if bad > max_bad * total:
        raise DataError(
            f"{bad} of {total} rows are bad, over build.max_bad_fraction={max_bad}; nothing is published. "
            f"First: {_first_bad(manifest)}"
        )
    warnings = [
        f"{n} identities of split {split} have a single image: they cannot be found again."
        for split, counts in manifest.counts.items()
        if (n := counts["single_image_identities"])
    ]
    if bad:
        warnings.append(f"{bad} of {total} rows were set aside; first: {_first_bad(manifest)}")
    return warnings


def _first_bad(manifest: Manifest) -> str:
    return str(manifest.quarantine_rows[0]["reason"]) if manifest.quarantine_rows else "none"
