"""The plan of a build before anything is read: its generators in order, and the names of their results.

A shard's rows depend on the records and on the code that reads them (the source key), and for every target on
the generator, its parameters and its inputs (one key each). Resources and speed are not part of the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reid.config import Config, GenerateConfig, fingerprint
from reid.config.addresses import source_hash
from reid.data.readers.base import Reader
from reid.data.shards.manifest import MadeBy
from reid.data.shards.schema import SCHEMA_VERSION
from reid.errors import ConfigError
from reid.generate.registry import BoundGenerator, bind
from reid.modality import Target


@dataclass(frozen=True)
class Step:
    """One target and its generator."""

    section: GenerateConfig
    bound: BoundGenerator
    needs: tuple[Target, ...]
    """Targets of this build that are made before, because this one looks at them."""
    key: str
    """Changes when anything that the result depends on does, besides the source."""

    @property
    def target(self) -> Target:
        """What is made."""
        return self.bound.target

    @property
    def heavy(self) -> bool:
        """Whether it has a process pool of its own."""
        return self.bound.heavy

    def made_by(self) -> MadeBy:
        """For a shard's statistics."""
        bound = self.bound
        return MadeBy(
            key=self.key,
            generator=bound.entry.name,
            params_hash=bound.params_hash,
            missing_only=self.section.missing_only,
        )


@dataclass(frozen=True)
class Recipe:
    """Everything that the shards of a build depend on besides the records."""

    steps: tuple[Step, ...]
    source: dict[str, Any]
    made: dict[str, Any]

    @cached_property
    def by_target(self) -> dict[Target, Step]:
        """The step that makes a target."""
        return {step.target: step for step in self.steps}

    def groups(self) -> list[tuple[Step, ...]]:
        """Steps that run together: consecutive functions share decoded pictures; a network runs alone."""
        groups: list[tuple[Step, ...]] = []
        for step in self.steps:
            if groups and not step.heavy and not groups[-1][0].heavy:
                groups[-1] = (*groups[-1], step)
            else:
                groups.append((step,))
        return groups


def make_recipe(config: Config) -> Recipe:
    """Check the generators of a configuration and put them in order.

    Raises ConfigError naming the field for an unknown generator or parameter, for generators that depend on
    each other in a circle, and for processes of a generator that does not use any.
    """
    bound: dict[Target, BoundGenerator] = {}
    for target, section in config.build.generate.items():
        generator = bound[target] = bind(target, section)
        if not generator.heavy and (section.concurrency or section.cpus or section.gpus):
            raise ConfigError(
                f"build.generate.{target.value}: {section.generator!r} is a function and has no processes of "
                "its own; set build.light.concurrency and build.light.cpus instead."
            )
    steps: dict[Target, Step] = {}
    for target in _ordered({t: _needs(g, bound) for t, g in bound.items()}):
        generator, section = bound[target], config.build.generate[target]
        needs = _needs(generator, bound)
        key = fingerprint(
            target.value,
            section.content()["missing_only"],
            [generator.entry.name, generator.params_hash, config.build.seed],
            [[need.value, steps[need].key] for need in needs],
            *([config.build.captions] if target is Target.TEXT else []),
            source_hash("reid.dataset.stages.generation", "reid.data.images", *_JUDGES.get(target, ())),
        )
        steps[target] = Step(section, generator, needs, key)
    return Recipe(
        steps=tuple(steps.values()),
        source={
            "schema": SCHEMA_VERSION,
            "code": reader_code(config),
            "max_pixels": config.build.max_pixels,
            "sensors": config.data.sensors(),
        },
        made={
            "rows_per_group": config.build.rows_per_group,
            "targets": {target.value: step.key for target, step in steps.items()},
        },
    )


def reader_code(config: Config) -> str:
    """Hash of the code that reads the records and encodes their pictures."""
    reader = f"reid.data.readers.{config.data.reader.name}"
    return source_hash(
        reader,
        "reid.data.readers.shared",
        "reid.data.readers.base",
        "reid.data.shards.schema",
        "reid.data.images",
    )


def check_masks(recipe: Recipe, reader: Reader, masks: bool) -> None:
    """Raise ConfigError when a generator needs a mask and neither a generator nor the data can provide one.

    `masks`: whether a record names one. If the data may have masks (files, or a reader that makes them), rows
    without one are rejected one by one.
    """
    wanting = [s for s in recipe.steps if s.bound.entry.needs_mask and Target.MASK not in recipe.by_target]
    if not wanting or type(reader).load is not Reader.load or masks:
        return
    step = wanting[0]
    raise ConfigError(
        f"build.generate.{step.target.value}.generator: {step.bound.entry.name!r} needs a mask, and the data "
        "have none; add one, e.g. build.generate.mask.generator=mask_prior."
    )


_JUDGES = {Target.TEXT: ("reid.dataset.captions.quality",)}
"""Code that decides which results are kept."""


def _needs(generator: BoundGenerator, configured: dict[Target, BoundGenerator]) -> tuple[Target, ...]:
    entry = generator.entry
    # What reads any of several modalities is content with captured ones, and waits for none.
    wanted = [Target(entry.reads[0].value)] if len(entry.reads) == 1 else []
    if entry.takes_mask or entry.needs_mask:
        wanted.append(Target.MASK)
    return tuple(t for t in wanted if t in configured and t is not generator.target)


def _ordered(needs: dict[Target, tuple[Target, ...]]) -> Sequence[Target]:
    """The configured order, changed so that each step follows its inputs. Raises ConfigError for a circle."""
    order: list[Target] = []
    left = list(needs)
    while left:
        ready = next((t for t in left if all(n in order for n in needs[t])), None)
        if ready is None:
            names = ", ".join(t.value for t in left)
            raise ConfigError(f"build.generate: {names} wait for each other; make one of them from RGB.")
        order.append(ready)
        left.remove(ready)
    return order
