"""Evaluate a run: worklist -> vectors (Ray Data) -> metrics by protocol -> JSON, Markdown and HTML.

Vectors are stored by key in the run folder, so a new protocol or subset costs only what it adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.embed import embed_work, features_of
from pipelines.evaluation.figures import all_similarities, best_projection, routing_maps
from pipelines.evaluation.ranked_lists import Pictures, ranked_lists
from pipelines.evaluation.scoring import scorer
from pipelines.placement.gpus import gpus_each
from pipelines.progress import Say, say
from reid import storage
from reid.comparison.mixed import uncalibrated
from reid.config import Config, fingerprint
from reid.config.addresses import evaluation_uri
from reid.data.images import decode_rgb
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.evaluator import PairingScores, embedding_tasks, score_pairing, select_items
from reid.evaluate.features.table import Vector
from reid.evaluate.features.work import work_table
from reid.evaluate.gathered_rows import check_companions
from reid.evaluate.metrics.colour_histogram import colour_histogram
from reid.evaluate.metrics.identity_scores import IdentityScores
from reid.evaluate.metrics.reranking import check_size
from reid.evaluate.metrics.retrieval import RetrievalMetrics, bootstrap_map
from reid.evaluate.metrics.trials import TrialMetrics
from reid.evaluate.plan import EvaluationPlan, plan_evaluation
from reid.evaluate.protocols.choice import ProtocolChoice
from reid.evaluate.protocols.companion_lists import CompanionList
from reid.evaluate.protocols.label_table import LabelTable
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.evaluate.report.published import published_rows
from reid.evaluate.report.rendering import write_report
from reid.evaluate.report.results import Evaluation, RowAverage, SubsetResult
from reid.evaluate.row_groups import resolved_groups
from reid.evaluate.support import check_support
from reid.modality import PHOTO, Subset
from reid.preflight.pairings import measured_pairings
from reid.runs.run import Run

ALONE = (PHOTO,)
COMPANIONS = "companions.json"


@dataclass(frozen=True)
class EvaluationResult:
    """The numbers, and where the report lies."""

    evaluation: Evaluation
    files: dict[str, str]


def evaluate_run(
    config: Config, run: Run, out: Say = say, plan: EvaluationPlan | None = None
) -> EvaluationResult:
    """Measure a run on the config's shard set and write the report into the run folder.

    `plan` is `plan_evaluation(config)`, where that was asked before. Raises DataError for a split without
    samples, a configured pairing without a query or a gallery item, and vectors that are not finite;
    ConfigError, before anything is embedded, when no query has a right answer.
    """
    plan = plan or plan_evaluation(config)
    config, shards, protocol, labels = plan.config, plan.shards, plan.protocol, plan.labels
    settings = config.evaluate
    for line in plan.lines:
        out(f"evaluate: {line}")
    present = labels.modalities
    pairings, empty = measured_pairings(
        config, run.model, protocol, labels, run.calibration.has if run.calibration else uncalibrated
    )
    groups = resolved_groups(protocol.config.averages, [*pairings, *empty])
    companions = check_companions(protocol, labels, pairings)
    check_support(ProtocolChoice(protocol), labels, pairings, what=f"the {settings.split} split")
    if settings.rerank:  # before anything is embedded
        for pairing in pairings:
            sides = select_items(protocol, labels, pairing)
            check_size(sum(len(side.items) for side in sides), run.model.dim, settings.rerank)
    pictures = Pictures(shards, protocol.splits)
    features = embed_work(
        run,
        shards,
        protocol.splits,
        work_table(embedding_tasks(protocol, labels, pairings), pictures.samples),
        actors=settings.actors,
        gpus_per_actor=gpus_each("embed", config, out),
        batch_size=settings.batch_size,
        ray_config=config.ray,
        out=out,
    )
    measure = scorer(features_of(run, shards), settings.actors, config.ray, out)
    rankings = run.calibration.ranking if run.calibration else None
    scored = [
        score_pairing(protocol, labels, pairing, features, settings.rerank, measure, rankings)
        for pairing in pairings
    ]
    for one in scored:
        out(f"evaluate: {one.pairing.name}: {_short(one.metrics)}")
    results = tuple(_result(s) for s in scored)
    averages, unmade = _averages(groups, scored, results)
    reranked = ["Re-ranked by k-reciprocal neighbours."] if settings.rerank else []
    evaluation = Evaluation(
        run=f"{run.config.name} ({run.folder.info['steps']} steps)",
        dataset=config.data.name,
        split=settings.split,
        protocol=protocol.name,
        summary=" ".join([protocol.summary, *reranked, *plan.lines]),
        exclusions=protocol.exclusions,
        model_fingerprint=run.fingerprint,
        data_fingerprint=shards.fingerprint,
        results=results,
        baselines=_baselines(config, protocol, labels, present, pictures),
        warnings=(
            *_warnings(scored, empty),
            *unmade,
            *protocol.warnings(labels),
            *_data_warnings(shards, run),
        ),
        ranked=ranked_lists(config, protocol, scored, pictures),
        settings=protocol.config.model_dump(mode="json"),
        sampling=_sampling(protocol),
        rerank=settings.rerank.model_dump() if settings.rerank else None,
        averages=averages,
        companions=companions.sha256 if companions else None,
        missing=settings.missing,
        published=published_rows(run.config.model.name, config.data.name, protocol.name),
        similarities=all_similarities(protocol, scored, results),
        projection=best_projection(scored, results, config.seed),
        routing=routing_maps(config, run, scored, pictures),
    )
    where = evaluation_uri(run.uri, f"{protocol.name}-{settings.split}-{_key(config, shards, companions)}")
    if companions is not None:  # before the report, which names it
        storage.write_bytes(storage.join(where, COMPANIONS), companions.to_json())
    files = write_report(evaluation, where)
    if companions is not None:
        files[COMPANIONS] = storage.join(where, COMPANIONS)
    return EvaluationResult(evaluation, files)


def _sampling(protocol: Protocol) -> str | None:
    """How galleries were drawn, with the content of a permutation file."""
    drawn = protocol.config.gallery.sampling
    if drawn is None or drawn.permutations is None:
        return protocol.sampling
    digest = storage.sha256(storage.read_bytes(storage.absolute(drawn.permutations)))
    return f"{protocol.sampling} SHA-256 {digest}."


def _result(scored: PairingScores) -> SubsetResult:
    return SubsetResult(
        query=scored.pairing.query_name,
        gallery=scored.pairing.gallery_name,
        metrics=scored.metrics,
        gallery_size=len(scored.draws[0]),
        lacking_queries=scored.queries.lacking,
        lacking_gallery=scored.gallery.lacking,
        interval=bootstrap_map(scored.metrics, scored.query_pids) if scored.metrics.queries else None,
        without_source=scored.without_source,
        identities=IdentityScores.of(scored.metrics, scored.query_pids) if scored.metrics.queries else None,
    )


def _averages(
    groups: Mapping[str, Sequence[Pairing]], scored: Sequence[PairingScores], results: Sequence[SubsetResult]
) -> tuple[tuple[RowAverage, ...], list[str]]:
    """The means of the groups, and what a reader should know of them."""
    of = {one.pairing: row for one, row in zip(scored, results, strict=True)}
    found, notes = [], []
    for name, pairings in groups.items():
        rows = [of[pairing] for pairing in pairings if pairing in of]
        if len(rows) < len(pairings):
            lacking = ", ".join(p.name for p in pairings if p not in of)
            notes.append(f"The mean of {name} is without rows that were not measured: {lacking}.")
        if rows:
            found.append(RowAverage.of(name, rows))
        else:
            notes.append(f"There is no mean of {name}: none of its rows was measured.")
    return tuple(found), notes


def _baselines(
    config: Config, protocol: Protocol, labels: LabelTable, present: Subset, pictures: Pictures
) -> tuple[SubsetResult, ...]:
    """Photos ranked by colour histogram: what no learning gives. Only where photos may ask for photos."""
    free = protocol.config.asked == "model" and not protocol.config.gallery.mixed
    if not config.evaluate.histogram or PHOTO not in present or not free:
        return ()
    pairing = Pairing(ALONE, ALONE, ALONE, ALONE)
    features: dict[str, Vector] = {}
    known: dict[str, Vector] = {}
    for work in embedding_tasks(protocol, labels, [pairing]):
        name = work.parts[PHOTO].sample_id
        if name not in known:
            pixels = decode_rgb(pictures.sample(name).images[PHOTO].image, name)
            known[name] = colour_histogram(pixels).numpy()
        features[work.key] = known[name]
    result = _result(score_pairing(protocol, labels, pairing, features))
    named = SubsetResult(**{**vars(result), "name": "colour histogram"})
    return (named,)


def _warnings(scored: Sequence[PairingScores], empty: Sequence[Pairing]) -> list[str]:
    warnings = []
    for one in scored:
        if not one.metrics.queries:
            warnings.append(f"{one.pairing.name}: no query has a positive left; its numbers are empty.")
    if empty:
        names = ", ".join(pairing.name for pairing in empty)
        warnings.append(f"Not measured, for no sample has the modalities: {names}.")
    return warnings


def _data_warnings(shards: ShardSet, run: Run) -> list[str]:
    aside = shards.manifest.quarantined
    found = [f"{aside} rows of the data set were set aside when it was built."] if aside else []
    if note := run.folder.info.get("validation_note"):
        found.append(f"How the weights were chosen: {note}")
    if run.calibration is None:
        why = run.folder.why_uncalibrated
        found.append(f"Scores are not calibrated ({why}): a similarity is not a probability.")
    return found


def _key(config: Config, shards: ShardSet, companions: CompanionList | None) -> str:
    settings = config.evaluate
    rerank = settings.rerank.model_dump() if settings.rerank else None
    named = get_protocol(settings.protocol).config.model_dump(mode="json")
    for field in ("companions", "averages"):  # what says nothing changes no name of before
        if not named[field]:
            del named[field]
    lists = [] if companions is None else [companions.sha256]
    return fingerprint(
        shards.fingerprint, settings.subsets, settings.gallery, named, rerank, settings.missing, *lists
    )


def _short(metrics: RetrievalMetrics) -> str:
    """ "mAP 0.355, R1 0.383", with the spread over trials."""
    spread = metrics.spread() if isinstance(metrics, TrialMetrics) else {}
    shown = {"mAP": metrics.mAP, "R1": metrics.cmc_at(1)}
    return ", ".join(
        f"{name} {value:.3f}" + (f" ± {spread[name]:.3f}" if name in spread else "")
        for name, value in shown.items()
    )


def report_lines(result: EvaluationResult) -> list[str]:
    """A short table for a terminal."""
    evaluation = result.evaluation
    lines = [f"{'query -> gallery':<34}{'mAP':>7}{'R1':>7}{'R5':>7}{'mINP':>7}{'chance mAP':>12}"]
    for row in (*evaluation.results, *evaluation.baselines):
        m = row.metrics
        trials = ""
        if isinstance(m, TrialMetrics):
            trials = f"  mAP ± {m.spread()['mAP']:.3f}, {len(m.trials)} trials"
        lines.append(
            f"{row.label:<34}{m.mAP:7.3f}{m.cmc_at(1):7.3f}{m.cmc_at(5):7.3f}{m.mINP:7.3f}"
            f"{m.chance_mAP:12.3f}{trials}"
        )
        if (strict := row.without_source) is not None:
            lines.append(
                f"{'  without the described image':<34}{strict.mAP:7.3f}{strict.cmc_at(1):7.3f}"
                f"{strict.cmc_at(5):7.3f}{strict.mINP:7.3f}"
            )
    for average in evaluation.averages:
        known = {name: average.numbers.get(name) for name in ("mAP", "R1", "R5", "mINP")}
        cells = (f"{'–':>7}" if value is None else f"{value:7.3f}" for value in known.values())
        lines.append(f"{average.label:<34}" + "".join(cells))
    if evaluation.missing:
        mean = evaluation.missing_summary()
        lines.append(
            f"{'mean of ' + str(mean['rows']) + ' incomplete rows':<34}"
            + "".join(f"{mean[name]:7.3f}" for name in ("mAP", "R1") if mean[name] is not None)
        )
    excluded = "; ".join(evaluation.exclusions) or "nothing"
    lines.append(f"protocol {evaluation.protocol}: not counted: {excluded}")
    lines.append(f"report: {result.files['report.html']}")
    return lines
