"""The end of a training: the chosen weights, their calibration, and the run folder."""

from __future__ import annotations

from reid import storage
from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.models.base import ReIDModel
from reid.nn.classifier.layer import load_embedding_state, split_parameters
from reid.nn.parameters import parameter_counts
from reid.runs.auxiliary_record import auxiliary_record
from reid.runs.folder import RunFolder, write_run
from reid.runs.identities import LabelMap
from reid.train.naming.origin import Origin
from reid.train.state import TrainingProgress
from reid.train.stopping import why_stopped
from reid.train.validation.calibrate import calibration_of
from reid.train.validation.checks import validation_notes
from reid.train.validation.validate import Validator


def finish_run(
    config: Config,
    uri: str,
    model: ReIDModel,
    labels: LabelMap,
    shards: ShardSet,
    progress: TrainingProgress,
    validator: Validator | None = None,
) -> RunFolder:
    """Write the run folder with the best validated weights, or the last ones without validation.

    Those weights are calibrated on the identities of `validator`.
    """
    if progress.best_weights is not None:
        load_embedding_state(model, progress.best_weights)
    info = {
        "name": config.name,
        "status": "finished",
        "selection": "last epoch"
        if progress.best_weights is None
        else f"best {config.train.checkpoint.best}",
        "best_metric": progress.best_metric,
        "validation": None if validator is None else validator.protocol.name,
        "validation_identities": 0 if validator is None else validator.identities,
        "validation_note": " ".join(validation_notes(validator.identities)) or None if validator else None,
        "epochs": progress.epoch,
        "stopped_early": why_stopped(progress.validations, config.train.stop_early),
        "averaged": config.train.ema.decay,
        "steps": progress.step,
        "data_fingerprint": shards.fingerprint,
        "generators": shards.manifest.generators,
        "auxiliary": auxiliary_record(model.auxiliary, shards.manifest.generators),
        "parameters": parameter_counts(model),
        "classifiers": "left out" if split_parameters(model) else "kept",
        "origin": origin.to_json() if (origin := Origin.read(uri)) else None,
    }
    device = next(model.parameters()).device
    calibration = calibration_of(config, shards, validator, model, device)
    return write_run(storage.absolute(uri), config, model, labels, info, calibration)
