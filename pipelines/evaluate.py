"""Evaluate a run: worklist -> vectors (Ray Data) -> metrics by protocol -> JSON, Markdown and HTML.

Vectors are stored by key in the run folder, so a new protocol or subset costs only what it adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.embed import Vector, embed_work, sample_groups
from pipelines.progress import Say, say
from reid.addresses import evaluation_uri, shards_uri
from reid.config import Config, fingerprint
from reid.data.batches import sample_part
from reid.data.images import decode_rgb, thumbnail
from reid.data.schema import Sample
from reid.data.shards import ShardSet
from reid.errors import DataError
from reid.evaluate.evaluator import Pairing, Scored, parse_pairing, score, stack, worklist
from reid.evaluate.histogram import colour_histogram
from reid.evaluate.items import GalleryItem, Query, SampleLabels, metas, parts_key
from reid.evaluate.metrics import bootstrap_map, top_ranked
from reid.evaluate.protocols import Protocol, get_protocol
from reid.evaluate.report import write_report
from reid.evaluate.results import Evaluation, Found, RankedList, SubsetResult
from reid.modality import Modality, Subset, all_subsets, canonical, parse_subset, subset_name
from reid.models.base import Regime, ReIDModel
from reid.runs import Run

RGB = (Modality.RGB,)
THUMBNAIL = 160


@dataclass(frozen=True)
class EvaluationResult:
    """The numbers, and where the report lies."""

    evaluation: Evaluation
    files: dict[str, str]


def evaluate_run(config: Config, run: Run, out: Say = say) -> EvaluationResult:
    """Measure a run on the config's shard set and write the report into the run folder."""
    settings = config.evaluate
    shards = ShardSet.open(shards_uri(config))
    protocol = get_protocol(settings.protocol)
    samples = shards.labels(settings.split)
    if not samples:
        have = ", ".join(shards.manifest.counts)
        raise DataError(f"evaluate.split: {shards.root} has no {settings.split!r} samples; it has {have}.")
    labels = [SampleLabels.of(s) for s in samples]
    present = canonical(m for row in labels for m in row.modalities)
    pairings = choose_pairings(config, run.model, present)
    work = worklist(protocol, labels, pairings)
    features = embed_work(
        run,
        shards,
        settings.split,
        work,
        actors=settings.actors,
        gpus_per_actor=settings.gpus_per_actor,
        batch_size=settings.batch_size,
        out=out,
    )
    scored = [score(protocol, labels, pairing, features) for pairing in pairings]
    for one in scored:
        out(f"evaluate: {one.pairing.name}: mAP {one.metrics.mAP:.3f}, R1 {one.metrics.cmc_at(1):.3f}")
    pictures = Pictures(shards, settings.split)
    evaluation = Evaluation(
        run=f"{run.config.name} ({run.folder.info['steps']} steps)",
        dataset=config.data.name,
        split=settings.split,
        protocol=protocol.name,
        summary=protocol.summary,
        exclusions=protocol.exclusions,
        model_fingerprint=run.fingerprint,
        data_fingerprint=shards.fingerprint,
        results=tuple(_result(s) for s in scored),
        baselines=_baselines(config, protocol, labels, present, pictures),
        warnings=_warnings(scored, shards),
        ranked=_ranked(config, protocol, labels, scored, features, pictures),
    )
    where = evaluation_uri(run.uri, f"{protocol.name}-{settings.split}-{_key(config, shards)}")
    return EvaluationResult(evaluation, write_report(evaluation, where))


def choose_pairings(config: Config, model: ReIDModel, present: Subset) -> list[Pairing]:
    """The configured subsets, or every one that the model answers.

    Matched: each subset against itself. Any-to-any: each subset without RGB, and RGB, against RGB.
    """
    settings = config.evaluate
    query_side = canonical(set(present) & model.query_modalities)
    gallery_side = canonical(set(present) & model.gallery_modalities)
    if not query_side or not gallery_side:
        have = subset_name(present)
        raise DataError(
            f"The {settings.split} split has {have}; the model takes {subset_name(model.query_modalities)}."
        )
    to_rgb = model.regime is Regime.ANY_TO_ANY and Modality.RGB in gallery_side
    default = parse_subset(settings.gallery) if settings.gallery else (RGB if to_rgb else gallery_side)
    if settings.subsets is not None:
        return [parse_pairing(text, default, model.pairing) for text in settings.subsets]
    if not to_rgb:
        subsets = all_subsets(query_side)
        return [Pairing(s, s, *model.pairing(s, s)) for s in subsets if set(s) <= set(gallery_side)]
    others = [m for m in query_side if m not in default]
    asked = [*([RGB] if Modality.RGB in query_side else []), *all_subsets(others)] if others else [RGB]
    return [Pairing(q, default, *model.pairing(q, default)) for q in asked]


def _result(scored: Scored) -> SubsetResult:
    return SubsetResult(
        query=subset_name(scored.pairing.query),
        gallery=subset_name(scored.pairing.gallery),
        metrics=scored.metrics,
        gallery_size=len(scored.gallery.items),
        lacking_queries=scored.queries.lacking,
        lacking_gallery=scored.gallery.lacking,
        interval=bootstrap_map(scored.metrics, scored.query_pids) if scored.metrics.queries else None,
    )


class Pictures:
    """Encoded samples by id, read a row group at a time and kept."""

    def __init__(self, shards: ShardSet, split: str) -> None:
        self.shards = shards
        self.groups = shards.groups(split)
        self.where = sample_groups(shards, self.groups)
        self._kept: dict[str, Sample] = {}

    def sample(self, sample_id: str) -> Sample:
        """The full sample."""
        if sample_id not in self._kept:
            for sample in self.shards.read_group(self.where[sample_id]):
                self._kept[sample.labels.sample_id] = sample
        return self._kept[sample_id]

    def shown(self, sample_id: str, modality: Modality, caption: int | None) -> bytes | str:
        """A thumbnail or a sentence."""
        content = sample_part(self.sample(sample_id), modality, caption or 0).content
        return content if isinstance(content, str) else thumbnail(content, sample_id, THUMBNAIL)


def _baselines(
    config: Config, protocol: Protocol, labels: Sequence[SampleLabels], present: Subset, pictures: Pictures
) -> tuple[SubsetResult, ...]:
    """RGB ranked by colour histogram: what no learning gives."""
    if not config.evaluate.histogram or Modality.RGB not in present:
        return ()
    pairing = Pairing(RGB, RGB, RGB, RGB)
    features: dict[str, Vector] = {}
    known: dict[str, Vector] = {}
    for work in worklist(protocol, labels, [pairing]):
        name = work.parts[Modality.RGB].sample_id
        if name not in known:
            pixels = decode_rgb(pictures.sample(name).images[Modality.RGB].image, name)
            known[name] = colour_histogram(pixels).numpy()
        features[work.key] = known[name]
    result = _result(score(protocol, labels, pairing, features))
    named = SubsetResult(**{**vars(result), "name": "colour histogram"})
    return (named,)


def _warnings(scored: Sequence[Scored], shards: ShardSet) -> tuple[str, ...]:
    warnings = []
    for one in scored:
        if not one.metrics.queries:
            warnings.append(f"{one.pairing.name}: no query has a positive left; its numbers are empty.")
    if shards.manifest.quarantined:
        warnings.append(
            f"{shards.manifest.quarantined} rows of the data set were set aside when it was built."
        )
    warnings.append("Scores are not calibrated: a similarity is not a probability.")
    return tuple(warnings)


def _ranked(
    config: Config,
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    scored: Sequence[Scored],
    features: dict[str, Vector],
    pictures: Pictures,
) -> tuple[RankedList, ...]:
    """Seeded random queries, dealt over the pairings."""
    settings = config.evaluate
    shown = [s for s in scored if s.metrics.queries]
    if not shown or not settings.queries_shown:
        return ()
    rng = np.random.default_rng(config.seed)
    picked = [shown[i] for i in np.linspace(0, len(shown) - 1, settings.queries_shown).round().astype(int)]
    lists = []
    for one in picked:
        usable = torch.nonzero(one.metrics.valid).flatten().tolist()
        position = int(rng.choice(usable))
        lists.append(_ranked_list(one, position, protocol, labels, features, pictures, settings.ranks_shown))
    return tuple(lists)


def _ranked_list(
    scored: Scored,
    position: int,
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    features: dict[str, Vector],
    pictures: Pictures,
    length: int,
) -> RankedList:
    query: Query = scored.queries.items[position]
    gallery: Sequence[GalleryItem] = scored.gallery.items
    q_meta, g_meta = metas([query], gallery, labels)
    vector = torch.from_numpy(features[parts_key(query.parts, "query")])[None]
    similarity = vector @ stack(gallery, "gallery", features).T
    order = top_ranked(similarity, min(length, len(gallery)), protocol.exclude(q_meta, g_meta))[0].tolist()
    results = []
    for i in order:
        if i < 0:
            continue
        item = gallery[i]
        modality = Modality.RGB if Modality.RGB in item.parts else next(iter(item.parts))
        part = item.parts[modality]
        results.append(
            Found(
                shown=pictures.shown(part.sample_id, modality, part.caption_index),
                pid=item.pid,
                score=float(similarity[0, i]),
                right=bool(q_meta.pid[0] == g_meta.pid[i]),
                camid=item.camid,
                item_id=item.item_id,
            )
        )
    return RankedList(
        query=tuple((m, pictures.shown(p.sample_id, m, p.caption_index)) for m, p in query.parts.items()),
        pid=query.pid,
        results=tuple(results),
        gallery=subset_name(scored.pairing.gallery),
        camid=query.camid,
        query_id=query.query_id,
        first_hit=int(scored.metrics.first_hit[position]),
    )


def _key(config: Config, shards: ShardSet) -> str:
    return fingerprint(shards.fingerprint, config.evaluate.subsets, config.evaluate.gallery)


def report_lines(result: EvaluationResult) -> list[str]:
    """A short table for a terminal."""
    evaluation = result.evaluation
    lines = [f"{'query -> gallery':<34}{'mAP':>7}{'R1':>7}{'R5':>7}{'mINP':>7}{'chance mAP':>12}"]
    for row in (*evaluation.results, *evaluation.baselines):
        m = row.metrics
        lines.append(
            f"{row.label:<34}{m.mAP:7.3f}{m.cmc_at(1):7.3f}{m.cmc_at(5):7.3f}{m.mINP:7.3f}{m.chance_mAP:12.3f}"
        )
    lines.append(f"protocol {evaluation.protocol}: not counted: {'; '.join(evaluation.exclusions)}")
    lines.append(f"report: {result.files['report.html']}")
    return lines
