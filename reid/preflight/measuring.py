"""What evaluation and indexing would refuse: pairings without a right answer, subsets that nothing has."""

from __future__ import annotations

from itertools import chain

from reid.comparison.mixed import Calibrated, uncalibrated
from reid.config import AUTO_PROTOCOL, Config, override
from reid.errors import DataError
from reid.evaluate.plan import choose_evaluation, evaluated_splits, no_rows
from reid.evaluate.protocols.choice import ProtocolChoice, sides_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.support import check_support
from reid.modality import canonical, subset_name
from reid.models.base import ReIDModel
from reid.preflight.gallery_subsets import choose_subsets
from reid.preflight.labelled_data import LabelledData
from reid.preflight.pairings import measured_pairings
from reid.runs.folder import RunFolder
from reid.runs.untrained import untrained_model


def measured_model(config: Config) -> ReIDModel:
    """The model that `run=` names, or that this configuration trains, without its weights.

    Raises WeightsError when `run=` names no run.
    """
    return untrained_model(RunFolder.open(config.run).config if config.run else config)


def _calibrated(config: Config) -> Calibrated:
    """Which pairs of subsets the run has likelihood ratios of; before it is there, those that it may have."""
    if not config.run:
        return lambda query, gallery: config.train.val.calibrate
    found = RunFolder.open(config.run).calibration()
    return uncalibrated if found is None else found.has


def check_evaluation(config: Config, data: LabelledData) -> list[str]:
    """Check an evaluation against the labels. Returns lines for the user.

    Raises DataError for a split without samples, ConfigError when no query has a right answer,
    UnsupportedPairing for what the model cannot compare.
    """
    parts = []
    for split in evaluated_splits(config):
        rows = data.labels(split)
        if not rows:
            raise no_rows("evaluate.split", data.where, split, data.splits)
        parts.append(rows)
    labels = label_table_of(parts[0] if len(parts) == 1 else chain.from_iterable(parts))
    chosen = choose_evaluation(config, labels)
    if config.evaluate.protocol == AUTO_PROTOCOL:
        config = override(config, {"evaluate.protocol": chosen.protocol.name})
    pairings, _ = measured_pairings(
        config, measured_model(config), chosen.protocol, labels, _calibrated(config)
    )
    check_support(
        ProtocolChoice(chosen.protocol), labels, pairings, what=f"the {config.evaluate.split} split"
    )
    return [chosen.note] if chosen.note else []


def check_index(config: Config, data: LabelledData) -> list[str]:
    """Check that there is something to index. Raises DataError, or UnsupportedPairing for `index.subsets`."""
    settings = config.index
    labels = label_table_of(data.labels(settings.split))
    if not labels:
        raise no_rows("index.split", data.where, settings.split, data.splits)
    present = labels.modalities
    model = measured_model(config)
    subsets = choose_subsets(settings.subsets, model, present)
    protocol = sides_of(config.evaluate.protocol)
    lacking = [subset_name(s) for s in subsets if not protocol.gallery(labels, s).items]
    if not subsets or len(lacking) == len(subsets):
        wanted = ", ".join(lacking) or subset_name(canonical(model.gallery_modalities))
        raise DataError(
            f"index.subsets: no gallery sample of the {settings.split} split of {data.where} has {wanted}; "
            f"they have {subset_name(present)}."
        )
    return [f"index.subsets: no sample has {name}." for name in lacking] if settings.subsets else []
