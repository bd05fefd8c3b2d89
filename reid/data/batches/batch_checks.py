"""Whether batches of P identities x K captures can be drawn from these identities, and can teach anything."""

from __future__ import annotations

from collections.abc import Container, Iterable

from reid.config import BatchConfig
from reid.data.batches.samplers import Counts
from reid.errors import ConfigError, TrainingError
from reid.modality import Subset

LEAST_IDENTITIES = 2
"""Fewer leave nothing to distinguish."""


def check_batch(config: BatchConfig, identities: int, left_out: str = "", world: int = 1) -> None:
    """Check P and K against the training identities that the sampler can use.

    Args:
        config: `train.batch`.
        identities: number of usable training identities.
        left_out: the identities and captures that the sampler cannot use, for messages.
        world: number of training workers, which share a batch.

    Raises ConfigError for a P that the workers cannot share and for batches of one row, TrainingError for too
    few identities.

    >>> check_batch(BatchConfig(identities=2, instances=2), identities=2)
    """
    if config.identities % world:
        raise ConfigError(
            f"train.batch.identities: {config.identities} is not a multiple of {world} workers."
        )
    aside = f" (left out: {left_out})" if left_out else ""
    if identities < LEAST_IDENTITIES:
        has = "1 usable identity" if identities else "no usable identity"
        raise TrainingError(
            f"data.reader: training has {has}{aside}, and {LEAST_IDENTITIES} or more are needed to learn "
            "what distinguishes them. Bring more, or look at the splits (own folders: "
            "data.reader.test_fraction, or the manifest's split column)."
        )
    if batch_rows(config) == 1:
        what = "P" if config.sampler == "tuple" else "P x K"
        raise ConfigError(
            f"train.batch.identities: a batch of one row ({what} = 1) has nothing to compare, and batch "
            "norms cannot be trained. Set it to 2 or more."
        )
    if identities < config.identities:
        raise TrainingError(
            f"train.batch.identities: a batch needs {config.identities} identities, training has "
            f"{identities}{aside}. Lower train.batch.identities or bring more data."
        )


def check_pairing(config: BatchConfig, auxiliary: Container[str]) -> None:
    """Raise ConfigError for rows of several captures where the model takes a mask, which fits one of them.

    `auxiliary` are the model's inputs besides the modalities.

    >>> check_pairing(BatchConfig(sampler="tuple", pairing="same_sample"), {"mask"})
    """
    if config.sampler == "tuple" and config.pairing == "same_id" and "mask" in auxiliary:
        raise ConfigError(
            "train.batch.pairing: same_id lays pictures of several captures into a row, and the model's "
            "mask fits one of them; use same_sample, or sampler pk."
        )


def batch_rows(config: BatchConfig) -> int:
    """Rows of a global batch."""
    return config.identities * (1 if config.sampler == "tuple" else config.instances)


def batch_notes(config: BatchConfig, identities: Iterable[Counts], modalities: Subset) -> list[str]:
    """What batches lack that losses learn from, where that may be meant.

    Args:
        config: `train.batch`.
        identities: captures of each training identity by the modalities that they have.
        modalities: the modalities that are trained.

    Returns:
        Lines for the user.

    >>> from reid.modality import parse_subset
    >>> rgb = parse_subset("rgb")
    >>> batch_notes(BatchConfig(identities=2, instances=2), [{rgb: 1}], rgb)
    ['all 1 training identities have one capture only: ...']
    """
    notes = []
    if config.identities == 1:
        notes.append(
            "train.batch.identities=1: no batch holds two identities, so losses that push identities apart "
            "learn nothing; set it to 2 or more."
        )
    if config.sampler == "tuple":
        return notes
    if config.instances == 1:
        notes.append(
            "train.batch.instances=1: no batch holds two captures of an identity, so losses over positive "
            "pairs (triplet) learn nothing; set it to 2 or more."
        )
    elif config.sampler == "pk":
        usable = [
            sum(n for subset, n in counts.items() if any(m in subset for m in modalities))
            for counts in identities
        ]
        single, total = usable.count(1), len(usable) - usable.count(0)
        if single and 2 * single >= total:
            some = "all" if single == total else f"{single} of"
            notes.append(
                f"{some} {total} training identities have one capture only: their positive "
                "pairs are copies of one picture, changed by train.augment alone."
            )
    return notes
