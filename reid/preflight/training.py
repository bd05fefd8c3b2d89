"""What training would refuse: batches that cannot be drawn, modalities that are not there, no validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.config import BatchConfig, Config
from reid.config.sections.training.workers import WorkerRange, worker_counts
from reid.data.batches.batch_checks import batch_notes, check_batch, check_pairing
from reid.data.batches.collate import Collator
from reid.data.batches.row_group_index import count_chunks
from reid.data.batches.sample_rows import ANCHOR
from reid.data.batches.samplers import sampler_of
from reid.data.shards.identity_list import Identity, IdentityList
from reid.data.shards.identity_table import Counts
from reid.errors import ConfigError, DataError
from reid.evaluate.protocols.choice import check_name
from reid.modality import canonical, subset_name
from reid.models.base import ReIDModel
from reid.preflight.labelled_data import LabelledData
from reid.preflight.starting_weights import check_starting_weights
from reid.runs.untrained import untrained_model
from reid.train.optimizer import build_optimizer
from reid.train.tracking.registry import check_trackers
from reid.train.validation.checks import (
    BEST,
    check_best,
    check_early_stopping,
    check_validation,
    choose_validation,
    held_out_identities,
    validation_notes,
    without_roles,
)
from reid.train.validation.checks import FIELD as VAL_PROTOCOL
from reid.train.validation.validate import measured_pairings

_SHOWN = 2


def check_settings(config: Config) -> ReIDModel:
    """Check what needs no labels, and return the model as it is before training.

    Raises ConfigError for an unknown validation protocol, for modalities or a mask that do not suit the
    sampler or the model, for optimiser groups of no parameter, and for a tracker without its package;
    WeightsError for a run or a file to start from that is not there, is no checkpoint or does not fit.
    """
    check_name(config.train.val.protocol, VAL_PROTOCOL)
    check_trackers(config)
    if not config.train.checkpoint.best.startswith(f"{BEST[0]}/"):
        check_best(config, BEST)
    sampler_of(config.train.batch, config.data.modalities)
    model = untrained_model(config)
    check_pairing(config.train.batch, model.auxiliary)
    Collator(config.data, augment=config.train.augment, auxiliary=model.auxiliary)
    build_optimizer(model, config.train.optim)
    check_starting_weights(config, model)
    return model


def check_training(config: Config, data: LabelledData, model: ReIDModel | None = None) -> list[str]:
    """Check a training against the labels. Returns lines for the user.

    `model`: what `check_settings` returned for this configuration, whatever its seed; default: it is called.

    Raises DataError without a training split, ConfigError and TrainingError naming the field.
    """
    model = model or check_settings(config)
    train, own = data.identities("train"), data.identities("val")
    if not train:
        raise DataError(
            f"{data.where} has no train split; it has {', '.join(data.splits) or 'no rows'}. Name the split "
            "in the folders or in the manifest's split column, or lower data.reader.test_fraction."
        )
    check_modalities(config, data)
    held_out, notes = held_out_identities(config.train.val, config.seed, train, own)
    check_early_stopping(config.train, bool(held_out))
    kept = np.ones(len(train), bool)
    if not own:
        kept[train.positions(IdentityList.of(held_out))] = False
    _check_rows(config, data, model, kept)
    return [*_batches(config, data, kept), *notes, *_validation(config, data, model, held_out)]


def check_modalities(config: Config, data: LabelledData) -> None:
    """Raise ConfigError for a modality that no training row has: its weights would stay random."""
    found = data.modalities("train")
    lacking = [m for m in config.data.modalities if m not in found]
    if not lacking:
        return
    aside = data.set_aside()
    why = ""
    if aside:
        reasons = "; ".join(f"{reason} ({n})" for reason, n in aside.most_common(_SHOWN))
        why = f" The build set {sum(aside.values())} rows aside: {reasons}."
    raise ConfigError(
        f"data.modalities: no training row of {data.where} has {subset_name(lacking).replace('+', ', ')}; "
        f"they have {subset_name(found) or 'nothing'}.{why} Take it out of data.modalities, or generate it "
        "(build.generate) and build again."
    )


def _check_rows(config: Config, data: LabelledData, model: ReIDModel, kept: NDArray[np.bool_]) -> None:
    """Raise ConfigError for rows that lack a modality, if the model trains on whole rows only."""
    if not model.needs_whole_rows:
        return
    wanted, batch = set(config.data.modalities), config.train.batch
    name, remedy = (
        config.model.name,
        "or choose a system that bears it (baseline with fusion: mean, flexireid)",
    )
    if batch.modality_dropout:
        raise ConfigError(
            f"train.batch.modality_dropout: {name} with these settings needs every modality in every "
            f"training row. Set it to 0, {remedy}."
        )
    if batch.sampler == "cross":
        raise ConfigError(
            f"train.batch.sampler: cross draws rows of one picture, and {name} with these settings needs "
            f"every modality in every training row. Use pk, {remedy}."
        )
    if batch.sampler == "tuple" and batch.incomplete != "allow":
        return
    captures = data.counts("train").where(kept)
    lacking = [
        (captures.identities[first], subset, n * number)
        for counts, number, first in captures.used
        for subset, n in _rows(batch, counts).items()
        if wanted - set(subset) and wanted & set(subset)
    ]
    if lacking:
        (dataset, pid), subset, _ = lacking[0]
        raise ConfigError(
            f"data.modalities: {name} with these settings needs all of {subset_name(config.data.modalities)} "
            f"in every training row; {sum(n for *_, n in lacking)} captures lack some, e.g. one of "
            f"{dataset}/{pid} with {subset_name(subset)} only. Complete them (build.generate), take the "
            f"modality out, {remedy}."
        )


def _rows(batch: BatchConfig, counts: Counts) -> Counts:
    """What rows of an identity's captures have; a tuple has what its anchor lacks from the others."""
    if batch.sampler != "tuple":
        return counts
    anchored = {subset: n for subset, n in counts.items() if ANCHOR in subset}
    if batch.pairing == "same_sample" or not anchored:
        return anchored
    return {canonical(m for subset in counts for m in subset): sum(anchored.values())}


def _batches(config: Config, data: LabelledData, kept: NDArray[np.bool_]) -> list[str]:
    batch = config.train.batch
    workers = config.train.workers
    worlds = worker_counts(workers, batch.identities)
    if not worlds and isinstance(workers, WorkerRange):
        raise ConfigError(
            f"train.workers: no number from {workers.min} to {workers.max} divides "
            f"train.batch.identities={batch.identities}, which the workers share equally."
        )
    captures = data.counts("train").where(kept)
    sampler = sampler_of(batch, config.data.modalities)
    chunks, found = count_chunks(sampler, captures.identities, captures.patterns, captures.pattern)
    left_out = str(found)
    for world in worlds:
        check_batch(batch, int((chunks > 0).sum()), left_out, max(1, world))
    numbered = [(counts, number) for counts, number, _ in captures.used]
    notes = batch_notes(batch, numbered, config.data.modalities, max(1, *worlds))
    told = [f"train.batch.sampler={batch.sampler} leaves out {left_out}."] if left_out else []
    return [*notes, *told]


def _validation(
    config: Config, data: LabelledData, model: ReIDModel, held_out: Sequence[Identity]
) -> list[str]:
    if not held_out:
        return []
    split = "val" if data.identities("val") else "train"
    labels = [without_roles(row) for row in data.labels(split, set(held_out))]
    settings = config.train.val
    chosen = choose_validation(settings.protocol, labels)
    check_validation(chosen, labels)
    pairings = measured_pairings(chosen.protocol, model, labels, settings.gallery)
    check_validation(chosen, labels, pairings)
    check_best(config, [*BEST, *(f"{BEST[0]}/{pairing.name}" for pairing in pairings)])
    notes = [f"validation: {chosen.note}"] if chosen.note else []
    return [*validation_notes(len(held_out)), *notes]
