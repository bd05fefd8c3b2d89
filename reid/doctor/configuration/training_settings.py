"""What a model is trained on and how long: modalities, input size, batches, epochs. Sized for a laptop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from reid.data.shards.schema import Sample
from reid.doctor.configuration.setting import Setting
from reid.modality import PHOTO, Subset, canonical, subset_name

IDENTITIES, INSTANCES = 16, 4
"""The largest batch: identities and captures of each."""
STEPS = 300
"""Training steps that small towers need minutes for, on two cores."""
FEWEST_EPOCHS = 6
SHORTEST = 10
"""Steps of an epoch at least: passes over a handful of pictures are hardly worth a checkpoint each."""
SIZES = ((1.5, (64, 32)), (1.15, (64, 48)), (0.87, (64, 64)), (0.67, (48, 64)), (0.0, (32, 64)))
"""(height : width of the usual picture, at least; height and width of the model's input)."""
Size = tuple[int, int]
"""Height and width in pixels."""


def modality_settings(samples: Sequence[Sample]) -> tuple[Subset, list[Setting]]:
    """The modalities that can be trained, and the settings that say so.

    A modality that only tested captures have is made for the training captures where a formula can; else it
    is left out: its queries would find nothing.

    >>> from reid.data.shards.schema import Labels
    >>> from reid.data.shards.schema import Image
    >>> from reid.modality import PHOTO
    >>> photo = Sample(Labels("a", "mine", "train", 1), {PHOTO: Image(b"", 0, 0)})
    >>> modality_settings([photo])[1][0].value
    'rgb'
    """
    trained = Counter(m for s in samples if s.labels.split == "train" for m in s.modalities)
    if not trained:  # told as a split that is empty
        trained = Counter(m for s in samples for m in s.modalities)
    others = canonical(
        m for s in samples if s.labels.split != "train" for m in s.modalities if not trained[m]
    )
    made = [m for m in others if m.entry.generator and trained[PHOTO]]
    left_out = [m for m in others if m not in made]
    kept = canonical([*trained, *made])
    why = [f"{m.value} occurs in no training row and is left out" for m in left_out]
    settings = [Setting("data.modalities", subset_name(kept), "; ".join(why) or None)]
    if made:
        names = ", ".join(m.value for m in made)
        reason = f"{names}: only tested captures have it; the others get one that is made from {PHOTO.value}"
        settings.append(
            Setting("build.generate", {m.value: {"generator": m.entry.generator} for m in made}, reason)
        )
    return kept, settings


def size_settings(sizes: Sequence[Size]) -> list[Setting]:
    """The input size with the shape of the usual picture.

    >>> [(s.field, s.value) for s in size_settings([(256, 128), (250, 120)])]
    [('data.height', 64), ('data.width', 32)]
    """
    if not sizes:
        return [Setting("data.height", 64), Setting("data.width", 64)]
    height, width = (round(median(side)) for side in zip(*sizes, strict=True))
    slenderness = median(h / w for h, w in sizes)
    chosen = next(size for least, size in SIZES if slenderness >= least)
    why = f"the usual picture is {height} high and {width} wide; larger inputs see more and cost more"
    return [Setting("data.height", chosen[0], why), Setting("data.width", chosen[1])]


def schedule_settings(captures: Sequence[int]) -> list[Setting]:
    """Batches and epochs for identities with these numbers of captures.

    Args:
        captures: captures of each training identity; those that validate are left out.

    >>> {s.field: s.value for s in schedule_settings([12] * 60)}["train.epochs"]
    25
    """
    identities = min(IDENTITIES, len(captures))
    instances = INSTANCES if median(captures) > 2 else 2
    once = math.ceil(sum(math.ceil(n / instances) for n in captures) / identities)
    steps = min(max(once, SHORTEST), STEPS // FEWEST_EPOCHS)
    epochs = STEPS // steps
    why = f"{epochs} x {steps} steps: minutes on a laptop; more epochs, better results"
    settings = [Setting("train.epochs", epochs, why)]
    if steps != once:
        why = f"one pass over the training captures (null) is {once} step{'' if once == 1 else 's'}"
        settings.append(Setting("train.steps_per_epoch", steps, why))
    few = f"{len(captures)} identities can be trained on" if identities < IDENTITIES else None
    return [
        *settings,
        Setting("train.batch.identities", identities, few),
        Setting("train.batch.instances", instances),
    ]
