"""What an ablation would refuse: rows that cannot be trained or measured."""

from __future__ import annotations

from collections.abc import Callable

from reid.config import Config, override
from reid.errors import AnyReIDError
from reid.preflight.labelled_data import LabelledData
from reid.preflight.measuring import check_evaluation
from reid.preflight.training import check_settings, check_training
from reid.studies.ladders.fitting import row_configs

Labels = Callable[[Config], LabelledData | None]
"""The labels that a configuration trains on; None where its set is not built and that is no error."""


def check_ablation(config: Config, labels: Labels) -> list[str]:
    """Check every row of the ladder, with every training seed. Returns lines for the user, each once.

    Raises what training or evaluating a row would, naming the row.
    """
    notes: dict[str, None] = {}
    for row, changed in row_configs(config)[1]:
        try:
            model = check_settings(changed)
            data = labels(changed)
            if data is not None:
                for seed in config.ablate.seeds:  # it chooses who is held out
                    notes |= dict.fromkeys(check_training(override(changed, {"seed": seed}), data, model))
                notes |= dict.fromkeys(check_evaluation(changed, data))
        except AnyReIDError as error:
            raise type(error)(f"row {row.name!r}: {str(error).removeprefix(f'row {row.name!r}: ')}") from None
    return list(notes)
