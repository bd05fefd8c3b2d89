"""Index: a split's gallery side -> vectors by subset (Ray Data) -> the durable gallery.

Adding is an upsert by sample id in one atomic version a chunk; what is there already is not added again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.embed import Vector, embed_work
from pipelines.progress import Progress, Say, say
from reid.config import Config
from reid.config.addresses import gallery_name, gallery_uri, shards_uri
from reid.data.images import thumbnail
from reid.data.labels import alike, both, difference, tidy
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.evaluator import EmbeddingTask
from reid.evaluate.protocols.choice import sides_of
from reid.evaluate.protocols.items import SampleLabels, parts_key
from reid.gallery.places import place_for_gallery
from reid.gallery.rows import Item
from reid.gallery.store import Gallery
from reid.modality import ORDER, Subset, canonical, subset_name
from reid.preflight.gallery_subsets import choose_subsets
from reid.runs.auxiliary_record import auxiliary_record
from reid.runs.run import Run
from reid.storage.latest import name_latest


@dataclass(frozen=True)
class IndexResult:
    """The gallery and what was added."""

    gallery: Gallery
    added: int
    already: int


def index_run(config: Config, run: Run, out: Say = say) -> IndexResult:
    """Bring the gallery of a run up to date with a split of the shard set."""
    settings = config.index
    shards = ShardSet.open(shards_uri(config))
    samples = shards.labels(settings.split)
    if not samples:
        raise DataError(f"index.split: {shards.root} has no {settings.split!r} samples.")
    labels = [SampleLabels.of(s) for s in samples]
    present = canonical(m for row in labels for m in row.modalities)
    subsets = choose_subsets(settings.subsets, run.model, present)
    vectors_of = _vectors(config, labels, subsets)
    given = gallery_uri(config, run.fingerprint)
    gallery = Gallery.ensure(
        place_for_gallery(given, gallery_name(config, run.fingerprint), run.fingerprint),
        run.model.dim,
        subsets,
        run.fingerprint,
        run.uri,
        {
            "data_fingerprint": shards.fingerprint,
            "split": settings.split,
            "auxiliary": auxiliary_record(run.model.auxiliary, shards.manifest.generators),
        },
    )
    if settings.gallery is None:  # beside a place of the user's own choice nothing is written
        name_latest(gallery.uri)
    known = set(gallery.snapshot().ids)
    wanted = [name for name in vectors_of if tidy(name) not in known]
    _refuse_respelled(known - {tidy(name) for name in vectors_of}, wanted, gallery.uri)
    if not wanted:
        return IndexResult(gallery, 0, len(known))
    work = {w.key: w for name in wanted for w in vectors_of[name].values()}
    features = embed_work(
        run,
        shards,
        settings.split,
        list(work.values()),
        actors=config.evaluate.actors,
        gpus_per_actor=config.evaluate.gpus_per_actor,
        batch_size=settings.batch_size,
        ray_config=config.ray,
        out=out,
    )
    _add(config, shards, gallery, {n: vectors_of[n] for n in wanted}, features, out)
    return IndexResult(gallery, len(wanted), len(known))


def _refuse_respelled(others: set[str], wanted: Sequence[str], uri: str) -> None:
    """Raise DataError for an item that may be one of the others in the gallery, which this set lacks."""
    stored = {alike(name): name for name in others}
    for name in wanted if stored else ():
        if (near := stored.get(alike(name))) is not None:
            raise DataError(
                f"{uri}: the id {both(tidy(name), near, ' and the stored ')} {difference(tidy(name), near)}; "
                "spell them alike if they are one, delete the stored item, or set another index.gallery."
            )


def _vectors(
    config: Config, labels: Sequence[SampleLabels], subsets: Sequence[Subset]
) -> dict[str, dict[str, EmbeddingTask]]:
    """{sample id: {subset: the vector to compute}} of the gallery side."""
    protocol = sides_of(config.evaluate.protocol)
    found: dict[str, dict[str, EmbeddingTask]] = {}
    for subset in subsets:
        for item in protocol.gallery(labels, subset).items:
            sample = next(iter(item.parts.values())).sample_id
            work = EmbeddingTask(parts_key(item.parts, "gallery"), "gallery", item.parts)
            found.setdefault(sample, {}).setdefault(subset_name(subset), work)
    return found


def _add(
    config: Config,
    shards: ShardSet,
    gallery: Gallery,
    vectors_of: dict[str, dict[str, EmbeddingTask]],
    features: dict[str, Vector],
    out: Say,
) -> None:
    progress = Progress("index", len(vectors_of), "items", out=out)
    chunk: list[Item] = []
    for group in shards.groups(config.index.split):
        for sample in shards.read_group(group):
            works = vectors_of.get(sample.labels.sample_id)
            if works:
                vectors = {subset: features[w.key] for subset, w in works.items()}
                chunk.append(_item(sample, vectors, gallery, config.index.thumbnail))
        if len(chunk) >= 2048:
            gallery.add(chunk)
            progress.add(len(chunk))
            chunk = []
    if chunk:
        gallery.add(chunk)
        progress.add(len(chunk))


def _item(sample: Sample, vectors: dict[str, Vector], gallery: Gallery, longest: int) -> Item:
    labels = sample.labels
    shown = next((m for m in ORDER if m in sample.images), None)
    return Item(
        id=labels.sample_id,
        vectors=vectors,
        model_fingerprint=gallery.metadata.model_fingerprint,
        modalities=sample.modalities,
        pid=labels.pid,
        camid=labels.camid,
        timestamp=labels.timestamp,
        thumbnail=None if shown is None else thumbnail(sample.images[shown].image, labels.sample_id, longest),
        source=f"{labels.dataset}/{labels.sample_id}",
    )
