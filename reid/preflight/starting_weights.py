"""What training would refuse of the weights that it starts from: no checkpoints, or of other networks."""

from __future__ import annotations

import os
import warnings

from reid import storage
from reid.config import Config, fingerprint
from reid.models.base import ReIDModel
from reid.storage.checkpoints import FILES
from reid.storage.run_files import pinned_weights
from reid.train.setup import initialise_from

_FITTING: set[str] = set()
"""What was found to fit: a search or an ablation asks the same of many configurations."""


def check_starting_weights(config: Config, model: ReIDModel) -> None:
    """Open the run or the file that a training starts from, and try whether it fits.

    `model` may be without memory for its weights. Files that are not on this machine are left to the
    machines that train: they may have them.

    Raises WeightsError and TrainingError as training does.

    >>> check_starting_weights(run.config, run.model)  # random: nothing to open
    """
    start, spec = config.train.init_from, getattr(config.model, "weights", None)
    if start:
        place = pinned_weights(start)
    elif isinstance(spec, str) and _is_file(spec) and storage.exists(spec):
        place = spec
    else:
        return
    data = config.data
    key = fingerprint(config.model, data.height, data.width, data.modalities, place, storage.stamp(place))
    if key in _FITTING:
        return
    with warnings.catch_warnings(action="ignore"):  # that copying to a model without memory does nothing
        if start:
            initialise_from(model, start)
        else:
            model.load_pretrained()
    _FITTING.add(key)


def _is_file(spec: str) -> bool:
    named = os.path.sep in spec or spec.endswith(FILES)
    return named and not spec.startswith("run:") and not storage.is_remote(spec)
