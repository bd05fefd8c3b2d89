"""How hard version 2 of the rendered identities is: the targets of its default difficulty, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from reid.data.synthetic.version2 import Version2Config
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.studies.crossing.captures import render_captures
from reid.studies.crossing.learning import LearningSettings, learn
from reid.studies.crossing.scores import TOGETHER, CrossingScores, measure

CROSSINGS = ("nir->rgb", "tir->rgb", "sketch->rgb", "depth->rgb")
LEAST, MOST = 3.0, 0.6
"""A crossing is at least so many times chance, and its mAP at most so much."""
TOGETHER_LEAST, TOGETHER_MOST = 0.40, 0.85
AT_CHANCE = 1.25
"""Infrared, sketches and depth ranked by colour histogram reach at most so many times chance."""


@dataclass(frozen=True)
class CrossingSettings:
    """The study; the default is the one that the targets speak of."""

    seeds: Sequence[int] = (0, 1, 2)
    train_identities: int = 300
    test_identities: int = 60
    height: int = 64
    width: int = 32
    difficulty: float = 0.5
    shared_cues: Mapping[str, float] = field(default_factory=dict)
    learning: LearningSettings = field(default_factory=LearningSettings)


def crossing_scores(settings: CrossingSettings, seed: int) -> CrossingScores:
    """Render, train and measure with one seed of renderer and training."""
    config = Version2Config(
        seed=seed,
        height=settings.height,
        width=settings.width,
        difficulty=settings.difficulty,
        shared_cues=settings.shared_cues,
    )
    known = range(settings.train_identities)
    unknown = range(settings.train_identities, settings.train_identities + settings.test_identities)
    encoder = learn(render_captures(config, known), settings.learning, seed)
    return measure(encoder, render_captures(config, unknown))


def crossing_rows(
    settings: CrossingSettings, told: Callable[[int, CrossingScores], None] = lambda seed, scores: None
) -> Iterator[BenchmarkRow]:
    """A row each pairing, with its mean mAP over the seeds; `told` gets every seed's scores."""
    found = []
    for seed in settings.seeds:
        found.append(crossing_scores(settings, seed))
        told(seed, found[-1])
    chance = mean(scores.chance for scores in found)
    model = {name: [scores.model[name] for scores in found] for name in found[0].model}
    colours = {name: [scores.histogram[name] for scores in found] for name in found[0].histogram}
    for name, values in model.items():
        # A target holds for every seed, not on average.
        ratio, target = min(values) / chance, LEAST if name in CROSSINGS else None
        yield BenchmarkRow(_title(name, values), mean(values), "mAP", chance, ratio, target)
    highest = max(max(model[name]) for name in CROSSINGS)
    yield BenchmarkRow("highest crossing of a seed", highest, "mAP", MOST, MOST / highest, 1.0)
    low, high = min(model[TOGETHER]), max(model[TOGETHER])
    yield BenchmarkRow(f"{TOGETHER}, lowest", low, "mAP", TOGETHER_LEAST, low / TOGETHER_LEAST, 1.0)
    yield BenchmarkRow(f"{TOGETHER}, highest", high, "mAP", TOGETHER_MOST, TOGETHER_MOST / high, 1.0)
    for name, values in colours.items():
        title = f"histogram, {_title(name, values)}"
        if name == "rgb->rgb":
            ratio = min(m / h for m, h in zip(model[name], values, strict=True))
            yield BenchmarkRow(title, mean(values), "mAP", mean(model[name]), ratio, 2.0)
        else:
            ratio = AT_CHANCE * chance / max(values)
            target = 1.0 if name in CROSSINGS else None
            yield BenchmarkRow(title, mean(values), "mAP", AT_CHANCE * chance, ratio, target)


def _title(name: str, values: Sequence[float]) -> str:
    """The pairing and the sample standard deviation over seeds."""
    return f"{name} ± {stdev(values):.3f}" if len(values) > 1 else name
