"""Converts public checkpoints to our models by a plan of tensor names for each system.

A plan names for every tensor of ours the public one that fills it, and the public tensors that are left out,
with the reason. Everything else must fit: missing, unknown or misshapen tensors give one error that lists
them all. A system is a file of this package, named like its model, that defines `SYSTEM`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Size, Tensor

from reid.config.typed import plugin_names
from reid.errors import ConfigError, WeightsError
from reid.models.base import ReIDModel
from reid.models.registry import model_names
from reid.nn.towers.checkpoint_kinds import describe_state

State = Mapping[str, Tensor]
Adapt = Callable[[Tensor, Size], Tensor]
"""A public tensor and the shape of ours -> the tensor in that shape; as it is when it cannot be."""
SHOWN = 5
"""Misfits that an error spells out."""


def unchanged(given: Tensor, shape: Size) -> Tensor:
    """The tensor without a change."""
    return given


def repeat_for_experts(given: Tensor, shape: Size) -> Tensor:
    """A tensor of all experts, (H,), (H, D) or a convolution's (H, D, 1), repeated: (E, H) or (E, H, D)."""
    kernel = given.dim() == len(shape) and given.shape[-1] == 1
    row = given.squeeze(-1) if kernel else given
    return row.expand(shape) if row.shape == shape[1:] else given


def flatten_table(given: Tensor, shape: Size) -> Tensor:
    """A table of rows (n, 1, D) -> (n, D)."""
    return given.squeeze(1) if given.dim() == 3 else given


def scalar(given: Tensor, shape: Size) -> Tensor:
    """One number, whatever its axes."""
    return given.reshape(shape) if given.numel() == 1 else given


@dataclass(frozen=True)
class TensorSource:
    """The public source of a tensor of ours."""

    key: str
    adapt: Adapt = unchanged


@dataclass(frozen=True)
class IgnoredTensor:
    """Public tensors that are left out on purpose: a regular expression of whole names."""

    pattern: str
    why: str
    count: int = 0


@dataclass(frozen=True)
class TensorPlan:
    """Our name -> its source.

    May name more than a configuration has; `hints` are shown if it does not fit.
    """

    sources: Mapping[str, TensorSource]
    ignored: Sequence[IgnoredTensor] = ()
    hints: Sequence[str] = ()


@dataclass(frozen=True)
class Conversion:
    """Our whole state dict, and the public tensors that were left out."""

    state: dict[str, Tensor]
    ignored: list[IgnoredTensor] = field(default_factory=list)


@dataclass(frozen=True)
class PublicSystem:
    """A public code base whose checkpoints can be read."""

    title: str
    backbone: str
    """What the names of its encoder begin with; also how its checkpoints are told from others."""
    preset: str
    plan: Callable[[Collection[str], Collection[str]], TensorPlan]
    """Our names and the public ones -> the plan."""
    remarks: Callable[[State], list[str]] = lambda state: []
    """What a user should know of a public state dict."""


def systems() -> dict[str, PublicSystem]:
    """The public systems by model name."""
    here = set(plugin_names("reid.runs.convert"))
    return {n: importlib.import_module(f"reid.runs.convert.{n}").SYSTEM for n in model_names() if n in here}


def system_of(model: str) -> PublicSystem:
    """The system of a model name. Raises ConfigError where there is none."""
    known = systems()
    if model not in known:
        raise ConfigError(
            f"model.name: {model} has no public checkpoints that are known here; can be converted: "
            f"{', '.join(known)}, e.g. --preset {next(iter(known.values())).preset}."
        )
    return known[model]


def label_counts(state: State, system: PublicSystem, where: str) -> tuple[int, int]:
    """(identities, cameras) that a checkpoint was trained on; 0 cameras without a camera embedding.

    Raises WeightsError for another system's checkpoint and for one without classifiers.
    """
    _check_origin(state, system, where)
    rows = {len(x) for k, x in state.items() if re.fullmatch(r"classifier.*\.weight", k) and x.dim() == 2}
    if len(rows) != 1:
        found = f"classifiers of {', '.join(map(str, sorted(rows)))} identities" if rows else "no classifier"
        raise WeightsError(
            f"{where}: {found}; a checkpoint of the whole training model is needed, its classifiers included."
        )
    table = state.get(f"{system.backbone}.cv_embed")
    return rows.pop(), 0 if table is None else len(table)


def _check_origin(state: State, system: PublicSystem, where: str) -> None:
    if any(key.startswith(f"{system.backbone}.") for key in state):
        return
    if not state:
        raise WeightsError(f"{where}: no tensors by name in it; save `model.state_dict()` itself.")
    hint = f" {system.title}'s begin with {system.backbone}. The file holds {describe_state(state)}."
    for other in systems().values():
        if any(key.startswith(f"{other.backbone}.") for key in state):
            hint = f" It looks like {other.title}'s: try --preset {other.preset}."
    if any(key.startswith("visual.") for key in state):
        hint = " It looks like CLIP itself: a tower's weights are loaded by model.weights=<file>."
    if any(key.startswith("image_tower.") for key in state):
        hint = " It has our own names already: point run= or train.init_from= at its run folder."
    raise WeightsError(
        f"{where}: not a checkpoint of {system.title} (first tensor {next(iter(state))!r}).{hint}"
    )


def convert(state: State, model: ReIDModel, system: PublicSystem, where: str = "checkpoint") -> Conversion:
    """The state dict of `model` from a public one. Neither is changed; tensors may share memory.

    `where` names the checkpoint in messages. Raises WeightsError unless every tensor fits or is left out on
    purpose.
    """
    wanted: dict[str, Tensor] = model.state_dict()
    plan = system.plan(wanted, state)
    missing, misshapen = [], []
    filled: dict[str, Tensor] = {}
    for ours, tensor in wanted.items():
        source = plan.sources.get(ours)
        if source is None:
            missing.append(f"{ours} {_shape(tensor)}: {system.title} has no such tensor")
        elif source.key not in state:
            missing.append(f"{source.key}, for {ours} {_shape(tensor)}")
        else:
            given = state[source.key]
            adapted = source.adapt(given, tensor.shape)
            if adapted.shape != tensor.shape:
                misshapen.append(f"{source.key} {_shape(given)}, for {ours} {_shape(tensor)}")
            filled[ours] = adapted.to(tensor.dtype)
    targets = {source.key: ours for ours, source in plan.sources.items()}
    spare = [key for key in state if targets.get(key) not in wanted]
    tally = dict.fromkeys(plan.ignored, 0)
    unknown = []
    for key in spare:
        rule = next((rule for rule in plan.ignored if re.fullmatch(rule.pattern, key)), None)
        if rule is not None:
            tally[rule] += 1
        else:
            off = f", for {targets[key]}, which is off" if key in targets else ""
            unknown.append(f"{key} {_shape(state[key])}{off}")
    problems = {"of another shape": misshapen, "missing": missing, "unknown": unknown}
    if any(problems.values()):
        raise WeightsError(_misfit(where, system, problems, plan.hints))
    return Conversion(filled, [replace(rule, count=n) for rule, n in tally.items() if n])


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _misfit(
    where: str, system: PublicSystem, problems: Mapping[str, Sequence[str]], hints: Sequence[str]
) -> str:
    counted = ", ".join(f"{len(found)} {kind}" for kind, found in problems.items() if found)
    lines = [f"{where} does not fit the configured {system.title}: of its tensors {counted}."]
    for kind, found in problems.items():
        lines += [f"  {kind}: {each}" for each in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  {kind}: {len(found) - SHOWN} more")
    remedy = (
        f"Configure what it was trained with: the preset of its data set (as {system.preset}), the same "
        "model.tower, data.height x data.width, and model.* switches."
    )
    return "\n".join([*lines, *hints, remedy])
