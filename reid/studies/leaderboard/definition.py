"""A benchmark as data: systems, the tracks that they are compared on, seeds, and budgets of training.

```
name: embedded
about: rendered people
data: {data.reader.test_identities: 60}      # the same for every system
systems:
  - {name: baseline, preset: baseline/synthetic, set: {}}
tracks:
  - {name: matched, about: all cameras on both sides, pairings: ["rgb+nir->rgb+nir"]}
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from reid.config import Config, Section, load, override
from reid.config.typed import as_validator, check, did_you_mean
from reid.errors import ConfigError, UsageError
from reid.evaluate.protocols.pairing_names import split_pairing
from reid.studies.shipped import read_study, shipped_names

_FOLDER = "reid.studies.leaderboard.benchmarks"
STEPS, SECONDS = "steps", "seconds"
BUDGETS = (STEPS, SECONDS)
"""Equal numbers of optimiser steps, or equal time of training on one machine."""


class ComparedSystem(Section):
    """A system of the leaderboard."""

    name: str = Field(min_length=1, description="name of the row")
    preset: str = Field(description="the preset that it starts from")
    set: dict[str, Any] = Field({}, description="fields that differ from the preset: dotted field -> value")
    note: str | None = Field(None, description="remark below the table")


class Track(Section):
    """Pairings whose mean mAP is one column."""

    name: str = Field(min_length=1, description="name of the column")
    about: str = Field(description="what the track asks, in one sentence")
    pairings: tuple[str, ...] = Field(min_length=1, description="pairings such as nir->rgb or nir->rgb|nir")

    @field_validator("pairings")
    @classmethod
    def _spelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pairing in value:
            _, gallery = as_validator(split_pairing)(pairing)
            if gallery is None:
                raise ValueError(f"{pairing!r} names no gallery; write {pairing}->rgb, for example")
        if len(set(value)) < len(value):
            raise ValueError("name no pairing twice")
        return value


class TrainingBudget(Section):
    """What every system may spend on training."""

    steps: int = Field(ge=1, description="optimiser steps, in the budget of steps")
    seconds: float = Field(gt=0, description="seconds of training, in the budget of seconds")
    epochs: int = Field(
        10, ge=1, description="epochs that the steps are divided into; learning-rate schedules span them"
    )


class WarmStart(Section):
    """A run trained first, on people that the benchmark does not have, that every system starts from."""

    preset: str = Field(description="the preset of the run")
    set: dict[str, Any] = Field({}, description="fields that differ from the preset: dotted field -> value")


class Benchmark(Section):
    """The whole benchmark."""

    name: str = Field(min_length=1, description="name of the benchmark, used in folders")
    about: str = Field(description="what is compared, in one or two sentences")
    baseline: str = Field(description="the system that all others are compared with")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, description="training seeds; the data stay the same"
    )
    budget: TrainingBudget = Field(description="what every system may spend on training")
    data: dict[str, Any] = Field(
        {}, description="fields that are the same for every system: dotted field -> value"
    )
    warm_start: WarmStart | None = Field(
        None, description="a run whose towers every system starts from; without it, from its preset's weights"
    )
    systems: tuple[ComparedSystem, ...] = Field(min_length=1, description="the rows")
    tracks: tuple[Track, ...] = Field(min_length=1, description="the columns")

    @model_validator(mode="after")
    def _distinct(self) -> Benchmark:
        for what, names in (
            ("systems", [s.name for s in self.systems]),
            ("tracks", [t.name for t in self.tracks]),
            ("seeds", list(map(str, self.seeds))),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what}: {twice!r} comes twice")
        if self.baseline not in (known := [s.name for s in self.systems]):
            raise ValueError(f"baseline: there is no system {self.baseline!r}; known: {', '.join(known)}")
        return self

    def pick(self, names: Sequence[str] | None, seeds: Sequence[int] | None = None) -> Benchmark:
        """The same benchmark with only some systems (the baseline is always among them) and seeds.

        Raises UsageError for a system that is none.
        """
        known = {system.name: system for system in self.systems}
        for name in names or ():
            if name not in known:
                raise UsageError(
                    f"leaderboard: there is no system {name!r}.{did_you_mean(name, list(known))}"
                )
        kept = [s for s in self.systems if names is None or s.name in (*names, self.baseline)]
        return self.model_copy(update={"systems": tuple(kept), "seeds": tuple(seeds or self.seeds)})

    def config(self, system: ComparedSystem, seed: int, overrides: Sequence[str] = ()) -> Config:
        """What a system trains on, without a budget. Raises ConfigError naming system and field.

        Its weights are random where there is a warm start, until that is trained.
        """
        random = {"model.weights": "random"} if self.warm_start is not None else {}
        try:
            found = override(load(system.preset), {**self.data, **random, **system.set})
            found = override(found, {"name": f"{self.name}-{slug(system.name)}", "seed": seed})
            return load(found.model_dump(mode="json"), overrides)
        except UsageError as error:
            raise ConfigError(f"leaderboard {self.name}, system {system.name!r}: {error}") from None

    def warm_config(self, workdir: str) -> Config | None:
        """What the warm start trains on, in the folder of the others; None without one.

        Raises ConfigError naming the field.
        """
        if self.warm_start is None:
            return None
        try:
            found = override(load(self.warm_start.preset), self.warm_start.set)
        except UsageError as error:
            raise ConfigError(f"leaderboard {self.name}, warm_start: {error}") from None
        return override(found, {"workdir": workdir})

    def with_steps(self, config: Config, steps: int) -> Config:
        """A configuration that trains for a number of steps, and is validated once, at the end."""
        epochs = min(self.budget.epochs, steps)
        return override(
            config,
            {
                "train.epochs": epochs,
                "train.steps_per_epoch": steps // epochs,
                "train.val.every_epochs": epochs,
            },
        )


def slug(name: str) -> str:
    """A name for folders: "any to any" -> "any-to-any".

    >>> slug("FlexiReID (warm)")
    'flexireid-warm'
    """
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "-".join(words) or "system"


def benchmarks() -> list[str]:
    """Names of the shipped benchmarks.

    >>> "embedded" in benchmarks()
    True
    """
    return shipped_names(_FOLDER)


def load_benchmark(source: str) -> Benchmark:
    """A shipped benchmark by name, or a YAML file.

    Raises UsageError for neither, ConfigError for a field that is wrong or missing.

    >>> load_benchmark("embedded").baseline
    'baseline'
    """
    form = "name, about, systems and tracks"
    tree = read_study(source, _FOLDER, "benchmark", "leaderboard", form)
    if not isinstance(tree, dict):
        raise ConfigError(f"benchmark {source}: expected fields such as systems and tracks.")
    found: Benchmark = check(Benchmark, tree, f"benchmark {source}")
    return found
