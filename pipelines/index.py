"""Index: a split's gallery side -> vectors by subset (Ray Data) -> the durable gallery.

Labels, pictures and rows pass through a row group or a chunk at a time. Adding is an upsert by sample id, one
atomic version a chunk: what is there already is not added again, so that an interrupted index goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.embed import embed_work
from pipelines.gallery_rows import PLAIN, GalleryRows, key_column, wanted_tasks
from pipelines.placement.gpus import gpus_each
from pipelines.progress import Progress, Say, say
from reid.config import Config
from reid.config.addresses import gallery_name, gallery_uri, shards_uri
from reid.data.labels import alike, both, difference, tidy
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.features.table import FeatureTable
from reid.evaluate.features.work import work_table
from reid.gallery.outages import outlasting
from reid.gallery.places import place_for_gallery
from reid.gallery.rows import Item
from reid.gallery.store import Gallery
from reid.modality import Subset, canonical, parse_subset
from reid.preflight.gallery_subsets import choose_subsets
from reid.runs.auxiliary_record import auxiliary_record
from reid.runs.run import Run
from reid.storage.latest import name_latest

CHUNK = 2048
"""Items that are added as one version of the gallery."""


@dataclass(frozen=True)
class IndexResult:
    """The gallery and what was added."""

    gallery: Gallery
    added: int
    already: int


def index_run(config: Config, run: Run, out: Say = say) -> IndexResult:
    """Bring the gallery of a run up to date with a split of the shard set.

    Raises DataError for a split without samples, and for an item that may be a stored one spelled otherwise.
    """
    settings = config.index
    shards = ShardSet.open(shards_uri(config))
    if not shards.rows(settings.split):
        raise DataError(f"index.split: {shards.root} has no {settings.split!r} samples.")
    subsets = choose_subsets(settings.subsets, run.model, _present(shards, settings.split))
    given = gallery_uri(config, run.fingerprint)
    place = place_for_gallery(given, gallery_name(config, run.fingerprint), run.fingerprint)
    provenance = {
        "data_fingerprint": shards.fingerprint,
        "split": settings.split,
        "auxiliary": auxiliary_record(run.model.auxiliary, shards.manifest.generators),
    }
    rule = run.model.comparison_rule
    gallery = outlasting(
        place,
        lambda: Gallery.ensure(place, run.model.dim, subsets, run.fingerprint, run.uri, provenance, rule),
    )
    if settings.gallery is None:  # beside a place of the user's own choice nothing is written
        name_latest(gallery.uri)
    samples = GroupSamples(shards, [settings.split])
    known = set(outlasting(gallery.uri, gallery.snapshot).ids)
    others, wanted = set(known), []  # what the set lacks, what the gallery lacks

    def new(name: str) -> bool:
        others.discard(tidy(name))
        if tidy(name) in known:
            return False
        wanted.append(name)
        return True

    tasks = wanted_tasks(config.evaluate.protocol, shards, settings.split, subsets, rule, new)
    work = work_table(tasks, samples)
    _refuse_respelled(others, wanted, gallery.uri)
    if not wanted:
        return IndexResult(gallery, 0, len(known))
    if known:
        out(f"index: {len(known)} items are in the gallery already; {len(wanted)} to add")
    features = embed_work(
        run,
        shards,
        [settings.split],
        work,
        actors=config.evaluate.actors,
        gpus_per_actor=gpus_each("embed", config, out),
        batch_size=settings.batch_size,
        ray_config=config.ray,
        out=out,
    )
    groups = sorted(set(work["group"].to_pylist()))
    makers = GalleryRows(
        shards.root, settings.split, config.evaluate.protocol, subsets, rule, settings.thumbnail
    )
    rows = makers.stream(groups, config, out)
    _add(rows, gallery, features, set(wanted), out)
    return IndexResult(gallery, len(wanted), len(known))


def _present(shards: ShardSet, split: str) -> Subset:
    """The modalities of a split's samples, as the manifest counts them."""
    return canonical(m for one in shards.stored.modalities(split) for m in one)


def _refuse_respelled(others: set[str], wanted: Sequence[str], uri: str) -> None:
    """Raise DataError for an item that may be one of the others in the gallery, which this set lacks."""
    stored = {alike(name): name for name in others}
    for name in wanted if stored else ():
        if (near := stored.get(alike(name))) is not None:
            raise DataError(
                f"{uri}: the id {both(tidy(name), near, ' and the stored ')} {difference(tidy(name), near)}; "
                "spell them alike if they are one, delete the stored item, or set another index.gallery."
            )


def _add(
    rows: Iterator[pa.Table], gallery: Gallery, features: FeatureTable, wanted: set[str], out: Say
) -> None:
    """Put rows of the wanted samples into the gallery, CHUNK at a time, with their vectors."""
    progress = Progress("index", len(wanted), "items", out=out)
    chunk: list[Item] = []
    for table in rows:
        chunk += [item for item in _items(table, gallery, features) if item.id in wanted]
        while len(chunk) >= CHUNK:
            _put(gallery, chunk[:CHUNK])
            progress.add(CHUNK)
            chunk = chunk[CHUNK:]
    if chunk:
        _put(gallery, chunk)
        progress.add(len(chunk))


def _put(gallery: Gallery, items: list[Item]) -> None:
    outlasting(gallery.uri, lambda: gallery.add(items))


def _items(table: pa.Table, gallery: Gallery, features: FeatureTable) -> Iterator[Item]:
    columns = {
        subset: table[key_column(subset)].to_pylist()
        for subset in gallery.subsets
        if key_column(subset) in table.column_names
    }
    for place, plain in enumerate(table.select(PLAIN.names).to_pylist()):
        keys = {subset: keys[place] for subset, keys in columns.items() if keys[place] is not None}
        yield Item(
            vectors={subset: features[key.hex()] for subset, key in keys.items()},
            model_fingerprint=gallery.metadata.model_fingerprint,
            **{**plain, "modalities": parse_subset(plain["modalities"]) if plain["modalities"] else ()},
        )
