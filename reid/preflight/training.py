"""What training would refuse: batches that cannot be drawn, modalities that are not there, no validation."""

from __future__ import annotations

from reid.config import BatchConfig, Config
from reid.data.batches.batch_checks import batch_notes, check_batch, check_pairing
from reid.data.batches.collate import Collator
from reid.data.batches.row_group_index import ChunkCounter
from reid.data.batches.sample_rows import ANCHOR
from reid.data.batches.samplers import Counts, sampler_of
from reid.data.shards.shard_set import Identity
from reid.errors import ConfigError, DataError
from reid.evaluate.protocols.choice import check_name
from reid.modality import canonical, subset_name
from reid.models.base import ReIDModel
from reid.preflight.labelled_data import LabelledData
from reid.preflight.starting_weights import check_starting_weights
from reid.runs.untrained import untrained_model
from reid.train.checks import FIELD as VAL_PROTOCOL
from reid.train.checks import (
    check_validation,
    choose_validation,
    held_out_identities,
    validation_notes,
    without_roles,
)
from reid.train.optimizer import build_optimizer
from reid.train.validate import measured_pairings

_SHOWN = 2


def check_settings(config: Config) -> ReIDModel:
    """Check what needs no labels, and return the model as it is before training.

    Raises ConfigError for an unknown validation protocol, for modalities or a mask that do not suit the
    sampler or the model, and for optimiser groups of no parameter; WeightsError for a run or a file to start
    from that is not there, is no checkpoint or does not fit.
    """
    check_name(config.train.val.protocol, VAL_PROTOCOL)
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
    kept = set(train) if own else set(train) - set(held_out)
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


def _check_rows(config: Config, data: LabelledData, model: ReIDModel, kept: set[Identity]) -> None:
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
    lacking = [
        (identity, subset, n)
        for identity, counts in data.counts("train").items()
        if identity in kept
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


def _batches(config: Config, data: LabelledData, kept: set[Identity]) -> list[str]:
    batch, world = config.train.batch, max(1, config.train.workers)
    counts = {who: found for who, found in data.counts("train").items() if who in kept}
    counter = ChunkCounter(kept, sampler_of(batch, config.data.modalities))
    usable = sum(counter.chunks(who, found) > 0 for who, found in counts.items())
    left_out = str(counter.left_out)
    check_batch(batch, usable, left_out, world)
    notes = batch_notes(batch, counts.values(), config.data.modalities)
    told = [f"train.batch.sampler={batch.sampler} leaves out {left_out}."] if left_out else []
    return [*notes, *told]


def _validation(config: Config, data: LabelledData, model: ReIDModel, held_out: list[Identity]) -> list[str]:
    if not held_out:
        return []
    split = "val" if data.identities("val") else "train"
    labels = [without_roles(row) for row in data.labels(split, set(held_out))]
    settings = config.train.val
    chosen = choose_validation(settings.protocol, labels)
    check_validation(chosen, labels)
    check_validation(chosen, labels, measured_pairings(chosen.protocol, model, labels, settings.gallery))
    notes = [f"validation: {chosen.note}"] if chosen.note else []
    return [*validation_notes(len(held_out)), *notes]
