"""The generating stages: a group of generators over the rows of a shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reid.config.sections.captions import CaptionPolicy
from reid.data.images import DEFAULT_SENSORS, Pixels, decode_rgb, encode_mask, encode_png, open_image
from reid.data.shards.schema import Caption, Image, Mask, Sample
from reid.dataset.captions.quality import CaptionVerdict, apply_policy, judge_caption
from reid.dataset.recipe import Step
from reid.dataset.rows import BuildRow, StageTimes
from reid.errors import ConfigError, DataError
from reid.generate.registry import (
    Generated,
    GeneratedCaption,
    GeneratedMask,
    GeneratorInput,
    Loaded,
    MaskArray,
)
from reid.modality import Modality, Target

DECODE = "decode"
_PIXELS = 16_000_000
"""Decoded at once: rows are handed over in smaller batches when their pictures are large."""


DeviceOf = Callable[[Step], str]
"""Where the network of a step computes."""


def cpu_only(step: Step) -> str:
    """The CPU, in a process that nobody granted a GPU. Raises ConfigError for a step that asks for one."""
    if step.section.gpus:
        field = f"build.generate.{step.target.value}.gpus"
        raise ConfigError(f"{field}={step.section.gpus:g}: shards made in this process have no GPU; set 0.")
    return "cpu"


@dataclass(frozen=True)
class _Maker:
    step: Step
    make: Loaded


class Generation:
    """Loaded generators that run together. A picture that several of them read is decoded once."""

    def __init__(self, steps: Sequence[Step], seed: int, policy: CaptionPolicy, device: DeviceOf) -> None:
        self.seed, self.policy = seed, policy
        # Only networks have a device: asking for that of a function could fail for nothing.
        self.makers = [_Maker(s, s.bound.load(device(s)) if s.heavy else s.bound.load()) for s in steps]

    def __call__(self, rows: Sequence[BuildRow], clock: StageTimes) -> list[BuildRow]:
        """The rows with the generated parts; a row that a generator refuses is rejected with its reason.

        A row without the modality that a generator reads continues without its product.
        """
        done = list(rows)
        for batch in self._batches(rows):
            cache = _Cache(done)
            for maker in self.makers:
                self._run(maker, [i for i in batch if wanted(done[i], maker.step)], cache, clock)
        return done

    def _batches(self, rows: Sequence[BuildRow]) -> Iterator[list[int]]:
        """Positions of rows with something to do, in batches of bounded length and pixels."""
        most = max(maker.step.section.batch_size for maker in self.makers)
        batch: list[int] = []
        pixels = 0
        for i, row in enumerate(rows):
            if not any(_lacks(row, maker.step) for maker in self.makers):
                continue
            own = sum(image.width * image.height for image in row.sample.images.values())
            if batch and (len(batch) == most or pixels + own > _PIXELS):
                yield batch
                batch, pixels = [], 0
            batch.append(i)
            pixels += own
        if batch:
            yield batch

    def _run(self, maker: _Maker, batch: Sequence[int], cache: _Cache, clock: StageTimes) -> None:
        size = maker.step.section.batch_size
        for start in range(0, len(batch), size):
            chosen = batch[start : start + size]
            before = len(cache.pixels)
            with clock.stage(DECODE, 0):
                ready = [i for i in chosen if cache.decode(i, maker.step)]
            clock.worked[DECODE] += len(cache.pixels) - before
            with clock.stage(maker.step.target.value, len(ready)):
                made: list[Generated | None] = [*self._make(maker, ready, cache)]
                if maker.step.target is Target.TEXT:
                    made = self._fit(maker, ready, made, cache, clock)
                for i, one in zip(ready, made, strict=True):
                    if one is not None:
                        cache.put(i, maker.step, one)

    def _fit(
        self,
        maker: _Maker,
        batch: Sequence[int],
        made: Sequence[Generated | None],
        cache: _Cache,
        clock: StageTimes,
    ) -> list[Generated | None]:
        """Captions after the policy: bad ones are regenerated, kept, or None (the row continues)."""

        def remake(places: Sequence[int], attempt: int) -> Sequence[Generated | None]:
            return self._make(maker, [batch[place] for place in places], cache, attempt)

        def look(place: int, one: Generated | None) -> CaptionVerdict:
            if not isinstance(one, GeneratedCaption):
                return CaptionVerdict()  # not made at all: the row is set aside
            return judge_caption(one, one.attributes, self.policy)

        fit, _, tally = apply_policy(made, remake, look, self.policy)
        clock.captions += tally.counts()
        return fit

    def _make(self, maker: _Maker, batch: Sequence[int], cache: _Cache, attempt: int = 0) -> list[Generated]:
        if not batch:
            return []
        try:
            return maker.make([self._source(maker, i, cache, attempt) for i in batch])
        except (DataError, ValueError, ArithmeticError) as problem:
            if len(batch) == 1:
                return [DataError(str(problem))]
        # One of them is bad: each alone, with its generator state as at first.
        return [made for i in batch for made in self._make(maker, [i], cache, attempt)]

    def _source(self, maker: _Maker, i: int, cache: _Cache, attempt: int) -> GeneratorInput:
        bound, sample = maker.step.bound, cache.rows[i].sample
        name = sample.labels.sample_id
        content = sample.content_hash or name
        return GeneratorInput(
            name=name,
            images={m: cache.pixels[i, m] for m in _seen(sample, maker.step)},
            mask=cache.masks.get(i) if _sees_mask(maker.step) else None,
            rng=bound.rng(f"{content}/{attempt}" if attempt else content, self.seed),
            captions=tuple(c.text for c in sample.captions),
            attributes=sample.labels.attributes,
        )


def wanted(row: BuildRow, step: Step) -> bool:
    """Whether a step has to make its target for a row."""
    return _lacks(row, step) and bool(_seen(row.sample, step))


def _seen(sample: Sample, step: Step) -> list[Modality]:
    """The pictures that a step reads: the one, or the captured ones of several."""
    reads = step.bound.entry.reads
    if len(reads) == 1:
        return [m for m in reads if m in sample.images]
    return [m for m in reads if m in sample.images and sample.images[m].origin == "captured"]


def _lacks(row: BuildRow, step: Step) -> bool:
    if row.error is not None or step.target in row.kept:
        return False
    return not step.section.missing_only or not _has(row.sample, step.target)


def _has(sample: Sample, target: Target) -> bool:
    if target is Target.MASK:
        return sample.mask is not None
    return bool(sample.captions) if target is Target.TEXT else target.modality in sample.images


def _sees_mask(step: Step) -> bool:
    return step.bound.entry.takes_mask or step.bound.entry.needs_mask


class _Cache:
    """Decoded pictures and masks of a batch; rows are replaced in place as things are made."""

    def __init__(self, rows: list[BuildRow]) -> None:
        self.rows = rows
        self.pixels: dict[tuple[int, Modality], Pixels] = {}
        self.masks: dict[int, MaskArray] = {}

    def decode(self, i: int, step: Step) -> bool:
        """Decode what a step reads of a row; False when that set the row aside."""
        sample = self.rows[i].sample
        name = sample.labels.sample_id
        try:
            for modality in _seen(sample, step):
                if (i, modality) not in self.pixels:
                    rule = DEFAULT_SENSORS.rule(modality)
                    picture = sample.images[modality].image
                    self.pixels[i, modality] = decode_rgb(picture, name, value_range=rule)
            if _sees_mask(step) and sample.mask is not None and i not in self.masks:
                self.masks[i] = np.asarray(open_image(sample.mask.image, f"{name}: mask").convert("1"))
        except DataError as problem:
            self._refuse(i, step, problem)
            return False
        return True

    def put(self, i: int, step: Step, made: Generated) -> None:
        """Add a generated part to its row, or reject the row."""
        row = self.rows[i]
        try:
            sample = _given(row.sample, step, made)
        except DataError as problem:
            return self._refuse(i, step, problem)
        self.rows[i] = replace(row, sample=sample)
        modality = step.target.modality
        if isinstance(made, np.ndarray) and modality is not None:
            grey = made.ndim == 2
            self.pixels[i, modality] = np.repeat(made[..., None], 3, axis=2) if grey else made
        elif isinstance(made, GeneratedMask):
            self.masks[i] = made.mask
        return None

    def _refuse(self, i: int, step: Step, problem: DataError) -> None:
        self.rows[i] = self.rows[i].refused(step.target.value, f"{step.bound.entry.name}: {problem}")


def _given(sample: Sample, step: Step, made: Generated) -> Sample:
    """A sample with a generated part. Raises DataError for a result that cannot be stored as the target."""
    if isinstance(made, DataError):
        raise made
    name, bound = sample.labels.sample_id, step.bound
    origin: Mapping[str, str] = {
        "origin": "generated",
        "generator": bound.entry.name,
        "params_hash": bound.params_hash,
        "source_id": name,
    }
    if step.target is Target.MASK and isinstance(made, GeneratedMask):
        image = sample.images[_seen(sample, step)[0]]
        if made.mask.shape != (image.height, image.width):
            raise DataError(
                f"{name}: a mask of {made.mask.shape} for a picture of {(image.height, image.width)}."
            )
        mask = encode_mask(np.asarray(made.mask, dtype=np.bool_))
        return replace(sample, mask=Mask(image=mask, score=made.score, **origin))
    if step.target is Target.TEXT and isinstance(made, GeneratedCaption):
        if not made.text.strip():
            raise DataError(f"{name}: an empty caption.")
        stated = tuple(replace(a, source=bound.entry.name) for a in made.attributes)
        labels = replace(sample.labels, attributes=(*sample.labels.attributes, *stated))
        captions = (*sample.captions, Caption(text=made.text, confidence=made.confidence, **origin))
        return replace(sample, labels=labels, captions=captions)
    modality = step.target.modality
    if (
        not isinstance(made, np.ndarray)
        or modality is None
        or not modality.is_visual
        or not _is_picture(made)
    ):
        raise DataError(f"{name}: what was made is no {step.target.value}: {_description(made)}.")
    picture = Image(
        encode_png(made),
        width=made.shape[1],
        height=made.shape[0],
        origin=origin["origin"],
        generator=origin["generator"],
        params_hash=origin["params_hash"],
        source_id=origin["source_id"],
    )
    return replace(sample, images={**sample.images, modality: picture})


def _is_picture(made: Pixels) -> bool:
    flat = made.ndim == 2 or (made.ndim == 3 and made.shape[2] == 3)
    return made.dtype == np.uint8 and flat and made.size > 0


def _description(made: object) -> str:
    return f"{made.shape} {made.dtype}" if isinstance(made, np.ndarray) else type(made).__name__
