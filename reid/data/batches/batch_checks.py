"""Whether batches of P identities x K captures can be drawn from these identities, and can teach anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from reid.config import BatchConfig
from reid.data.shards.identity_table import Counts
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
    batch = config.global_identities(world)
    if batch % world:
        raise ConfigError(
            f"train.batch.identities: {batch} is not a multiple of {world} workers, which share a batch "
            f"equally. Give a multiple, or a rule: {{per_rank: {max(1, batch // world)}}} is so many on each."
        )
    aside = f" (left out: {left_out})" if left_out else ""
    if identities < LEAST_IDENTITIES:
        has = "1 usable identity" if identities else "no usable identity"
        raise TrainingError(
            f"data.reader: training has {has}{aside}, and {LEAST_IDENTITIES} or more are needed to learn "
            "what distinguishes them. Bring more, or look at the splits (own folders: "
            "data.reader.test_fraction, or the manifest's split column)."
        )
    if batch_rows(config, world) == 1:
        what = "P" if config.sampler == "tuple" else "P x K"
        raise ConfigError(
            f"train.batch.identities: a batch of one row ({what} = 1) has nothing to compare, and batch "
            "norms cannot be trained. Set it to 2 or more."
        )
    if identities < batch:
        rule = "" if isinstance(config.identities, int) else f" ({config.identities.per_rank} per rank)"
        raise TrainingError(
            f"train.batch.identities: a batch needs {batch} identities{rule}, training has "
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


def batch_rows(config: BatchConfig, world: int = 1) -> int:
    """Rows of the global batch of so many ranks."""
    return config.global_identities(world) * (1 if config.sampler == "tuple" else config.instances)


def batch_notes(
    config: BatchConfig, identities: Iterable[tuple[Counts, int]], modalities: Subset, world: int = 1
) -> list[str]:
    """What batches lack that losses learn from, where that may be meant.

    Args:
        config: `train.batch`.
        identities: captures of training identities by the modalities that they have, and how many identities
            have these.
        modalities: the modalities that are trained.
        world: number of training workers.

    Returns:
        Lines for the user.

    >>> from reid.modality import parse_subset
    >>> rgb = parse_subset("rgb")
    >>> batch_notes(BatchConfig(identities=2, instances=2), [({rgb: 1}, 1)], rgb)
    ['all 1 training identities have one capture only: ...']
    """
    notes = []
    if config.global_identities(world) == 1:
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
        usable: Counter[int] = Counter()
        for counts, number in identities:
            captures = sum(n for subset, n in counts.items() if any(m in subset for m in modalities))
            usable[captures] += number
        single, total = usable[1], usable.total() - usable[0]
        if single and 2 * single >= total:
            some = "all" if single == total else f"{single} of"
            notes.append(
                f"{some} {total} training identities have one capture only: their positive "
                "pairs are copies of one picture, changed by train.augment alone."
            )
    return notes
