"""The configuration that suits a data set: settings for every verb, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reid.config import Config, load
from reid.config.changes import not_default
from reid.config.overrides import merge
from reid.doctor.configuration.evaluation_settings import Measurable, measured, validation_settings
from reid.doctor.configuration.setting import Setting
from reid.doctor.configuration.training_settings import (
    Size,
    modality_settings,
    schedule_settings,
    size_settings,
)
from reid.doctor.data.recipes import GENERAL
from reid.doctor.data.source import ExaminedSample
from reid.errors import ConfigError
from reid.evaluate.protocols.items import SampleLabels

_PARTS_OF_TRAIN = ("augment", "optim")
_HERE = (
    Setting("train.workers", 0, "in this process; with Ray's workers: 2 or more"),
    Setting("evaluate.actors", 0, "in this process; with Ray's actors: 1 or more"),
    Setting(
        "model.weights",
        "random",
        "small towers that learn from these pictures alone; with pretrained CLIP weights results are better",
    ),
)


@dataclass(frozen=True)
class Suggestion:
    """A configuration, why its fields are as they are, and what cannot be done with these data."""

    config: Config
    tree: dict[str, Any]
    """What the file says: all that differs from the defaults, and what was chosen."""
    reasons: dict[str, str]
    """Dotted field -> why."""
    untrainable: str | None = None
    unmeasurable: str | None = None


def suggest(
    base: Config,
    entries: Sequence[ExaminedSample],
    sizes: Sequence[Size],
    reader_settings: Sequence[Setting] = (),
    given: Sequence[str] = (),
) -> Suggestion:
    """The configuration for usable captures.

    Args:
        base: names the data set, its reader with all settings, and its protocol.
        entries: captures that a build would keep.
        sizes: heights and widths of some pictures.
        reader_settings: why the reader has its settings.
        given: the user's own overrides, which win.

    Raises ConfigError for overrides that do not fit.
    """
    samples = [e.sample for e in entries]
    modalities, chosen = modality_settings(samples)
    labels = [SampleLabels.of(s) for s in samples]
    rows = {split: [row for row in labels if row.split == split] for split in ("train", "val", "test")}
    result = measured(base.evaluate.protocol, rows["test"], modalities)
    settings = [*reader_settings, *chosen, *size_settings(sizes), *result.settings, *_HERE]
    trained, untrainable = _training(rows, result, base)
    settings += trained
    tree = _general()
    tree = merge(tree, {"name": base.name, "data": {"name": base.data.name, "shards": base.data.shards}})
    tree["data"]["reader"] = not_default(base.data.reader)
    for setting in settings:
        tree = merge(tree, setting.tree)
    config = load(tree, given)
    theirs = {one.partition("=")[0] for one in given}
    reasons = {s.field: s.why for s in settings if s.why and s.field not in theirs}
    return Suggestion(
        config,
        _shown(config, settings),
        reasons,
        untrainable,
        result.problem if untrainable is None else None,
    )


def _general() -> dict[str, Any]:
    """Model, augmentation and optimiser of the preset for data of one's own."""
    preset = load(GENERAL)
    tree = not_default(preset)
    return {"model": tree["model"], "train": {part: tree["train"][part] for part in _PARTS_OF_TRAIN}}


def _training(
    rows: dict[str, list[SampleLabels]], result: Measurable, base: Config
) -> tuple[list[Setting], str | None]:
    """Settings of training, and why it cannot be done."""
    captures = Counter((row.dataset, row.pid) for row in rows["train"])
    if len(captures) < 2:
        what = f"{len(captures)} training identities" if len(captures) != 1 else "one training identity"
        return [], f"{what}: there is nobody to tell apart"
    protocol = next(
        (s.value for s in result.settings if s.field == "evaluate.protocol"), base.evaluate.protocol
    )
    try:
        settings, held_out = validation_settings(rows["train"], rows["val"], protocol, base.seed)
    except ConfigError as error:  # of the data set's own val split
        return [], str(error)
    settings += schedule_settings([n for identity, n in captures.items() if identity not in set(held_out)])
    if result.gallery is not None and (held_out or rows["val"]):
        settings.append(Setting("train.val.gallery", result.gallery.value))
        epochs = next(s.value for s in settings if s.field == "train.epochs")
        settings.append(Setting("train.val.every_epochs", max(1, epochs // 3)))
    return settings, None


def _shown(config: Config, settings: Sequence[Setting]) -> dict[str, Any]:
    """All that differs from the defaults, and every chosen field even where it is a default."""
    tree, full = not_default(config), config.model_dump(mode="json")
    for setting in settings:
        value: Any = full
        for key in setting.field.split("."):
            value = value[key]
        if not isinstance(value, dict):
            tree = merge(tree, Setting(setting.field, value).tree)
    return _in_order(tree, full)


def _in_order(tree: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """A tree with its keys in the order of the schema."""
    keys = [*(k for k in full if k in tree), *(k for k in tree if k not in full)]
    pairs = ((k, tree[k], full.get(k)) for k in keys)
    return {k: _in_order(v, f) if isinstance(v, dict) and isinstance(f, dict) else v for k, v, f in pairs}
