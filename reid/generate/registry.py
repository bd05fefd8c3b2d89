"""The registry of generators, which make a missing modality or the mask of a capture.

A *function* `(pixels (B, H, W, 3), rngs, *, [mask (B, H, W)], **params)` suits formulas; it gets stacks
of images of one size. A *class* `__init__(*, weights, device, **params)` with `__call__(sources)` suits
networks, which load once. The keyword-only parameters and their defaults are the configuration of either.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, create_model

from reid.config import GenerateConfig
from reid.config.typed import check, did_you_mean
from reid.data.images import Pixels
from reid.data.shards.schema import SampleAttribute
from reid.errors import AnyReIDError, ConfigError, DataError
from reid.generate import fingerprints
from reid.modality import PHOTO, Modality, Target

MaskArray = npt.NDArray[np.bool_]
STACK_PIXELS = 32 * 1024
"""Sources are stacked up to so many pixels: beyond that the planes leave the cache and stacking is slower."""


@dataclass(frozen=True)
class GeneratorInput:
    """The parts of a capture that a generator may read.

    >>> source = GeneratorInput("0001", {}, None, np.random.default_rng(0))
    >>> source.captions
    ()
    """

    name: str
    images: Mapping[Modality, Pixels]
    """Decoded (H, W, 3) uint8, those that the generator reads and that are there."""
    mask: MaskArray | None
    """(H, W) of the RGB picture, when there is one."""
    rng: np.random.Generator
    captions: tuple[str, ...] = ()
    attributes: tuple[SampleAttribute, ...] = ()


@dataclass(frozen=True)
class GeneratedMask:
    """A mask of the object, (H, W) bool, and the generator's confidence in it (0 to 1).

    >>> GeneratedMask(np.zeros((4, 2), bool)).score is None
    True
    """

    mask: MaskArray
    score: float | None = None


@dataclass(frozen=True)
class GeneratedCaption:
    """A caption of the object, the generator's confidence (0 to 1), and the attributes that it states.

    >>> GeneratedCaption("a person in red").attributes
    ()
    """

    text: str
    confidence: float | None = None
    attributes: tuple[SampleAttribute, ...] = ()


Generated = Pixels | GeneratedMask | GeneratedCaption | DataError
"""A DataError *value* sets that one row aside with its reason."""
Loaded = Callable[[Sequence[GeneratorInput]], list[Generated]]
Rngs = Sequence[np.random.Generator]
T = TypeVar("T", bound=Callable[..., Any])
_GIVEN = {"function": {"mask"}, "class": {"device"}}
"""Keyword-only arguments that come from the caller, not from the configuration."""


@dataclass(frozen=True)
class Generator:
    """A registered generator: what it makes, what it reads, and the function or class that does it.

    >>> registry()["sketch_dodge"].targets == {Target.SKETCH}
    True
    """

    name: str
    targets: frozenset[Target]
    maker: Callable[..., Any]
    kind: Literal["function", "class"]
    needs_mask: bool = False
    needs_weights: bool = False
    reads: tuple[Modality, ...] = (PHOTO,)
    license_note: str = ""
    takes_mask: bool = False
    """Whether a mask changes what it makes: then the mask is to be made before."""

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters that a configuration may set, by name."""
        return {k: p for k, p in self.arguments().items() if k not in _GIVEN[self.kind]}

    def arguments(self) -> dict[str, inspect.Parameter]:
        """All keyword-only arguments of the function or class, by name."""
        signature = inspect.signature(self.maker, eval_str=True)
        return {k: p for k, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def source_hash(self) -> str:
        """Hash of the generator's file and of our files that it imports; new code makes its output again."""
        return fingerprints.code_hash(self.maker)


_REGISTRY: dict[str, Generator] = {}


def generator(
    name: str,
    *targets: Target,
    needs_mask: bool = False,
    reads: Modality = PHOTO,
    license_note: str = "no data or weights of others",
) -> Callable[[T], T]:
    """Decorator: register a function over stacks of pixels as a generator.

    Args:
        name: unique name in the configuration.
        targets: what it can make.
        needs_mask: whether it cannot work without a mask.
        reads: modality that it reads.
        license_note: licence of data or weights that it contains.

    Raises ValueError if another generator has the name.

    >>> registry()["sketch_dodge"].kind
    'function'
    """

    def register(function: T) -> T:
        takes = needs_mask or "mask" in inspect.signature(function).parameters
        made = frozenset(targets)
        _add(Generator(name, made, function, "function", needs_mask, False, (reads,), license_note, takes))
        return function

    return register


def learned_generator(
    name: str,
    *targets: Target,
    needs_weights: bool,
    license_note: str,
    needs_mask: bool = False,
    takes_mask: bool = False,
    reads: Iterable[Modality] = (PHOTO,),
) -> Callable[[T], T]:
    """Decorator: register a class, which loads a network once in each process, as a generator.

    Args:
        name: unique name in the configuration.
        targets: what it can make.
        needs_weights: whether it needs a weights file.
        license_note: licence of data or weights that it uses.
        needs_mask: whether it cannot work without a mask.
        takes_mask: whether a mask changes its output.
        reads: modalities that it can read.

    Raises ValueError if another generator has the name.

    >>> registry()["mask_sam"].kind
    'class'
    """

    def register(cls: T) -> T:
        made, takes = frozenset(targets), takes_mask or needs_mask
        _add(
            Generator(name, made, cls, "class", needs_mask, needs_weights, tuple(reads), license_note, takes)
        )
        return cls

    return register


def registry() -> dict[str, Generator]:
    """Every registered generator by name.

    >>> "sketch_dodge" in registry()
    True
    """
    fingerprints.import_all()
    return dict(_REGISTRY)


@dataclass(frozen=True)
class BoundGenerator:
    """A generator with checked parameters for one target; it can be pickled to other processes.

    >>> bound = bind(Target.SKETCH, GenerateConfig(generator="sketch_dodge"))
    >>> pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    >>> sketch = bound(pixels, content_hash="abc", seed=0)
    >>> sketch.shape[:2], np.array_equal(sketch, bound(pixels, content_hash="abc", seed=0))
    ((32, 16), True)
    """

    entry: Generator
    target: Target
    params: dict[str, Any]
    params_hash: str

    @property
    def heavy(self) -> bool:
        """Whether it loads a network, so that a process should keep it."""
        return self.entry.kind == "class"

    def load(self, device: str = "cpu") -> Loaded:
        """Load the generator for many captures.

        Args:
            device: device of a network, e.g. "cuda:0"; functions ignore it.

        Returns:
            A function of a sequence of inputs -> one result for each, in order. An input that lacks what the
            generator reads or needs, or that a function refuses, gives a DataError as its result.

        Errors that a class raises are passed on.
        """
        entry = self.entry
        if entry.kind == "class":
            given = {"device": device} if "device" in entry.arguments() else {}
            return _Guarded(entry, entry.maker(**self.params, **given))
        return _Guarded(entry, _Stacked(entry, self.params))

    def rng(self, content_hash: str, seed: int) -> np.random.Generator:
        """The random generator of a capture, from content hash, seed, generator and parameters alone."""
        text = f"{content_hash}|{seed}|{self.entry.name}|{self.params_hash}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))

    def __call__(
        self, pixels: Pixels, content_hash: str, seed: int, mask: MaskArray | None = None
    ) -> Pixels | GeneratedMask | GeneratedCaption:
        """Make the target for one image.

        Args:
            pixels: (H, W, 3) uint8.
            content_hash: hash of the capture; it seeds the random generator.
            seed: the build's seed.
            mask: (H, W) bool, or None.

        Returns:
            (H, W, 3) or (H, W) uint8 pixels, a mask, or a caption.

        Raises DataError when the generator cannot make the target for this image.
        """
        images = {self.entry.reads[0]: pixels}
        (made,) = self.load()([GeneratorInput(content_hash, images, mask, self.rng(content_hash, seed))])
        if isinstance(made, DataError):
            raise made
        return made


def bind(target: Target | Modality, section: GenerateConfig) -> BoundGenerator:
    """Check the generator and parameters of a configuration section.

    Args:
        target: what to make.
        section: the section `build.generate.<target>`.

    Raises ConfigError for an unknown generator or parameter, or for a generator of other targets; the message
    names the field and the nearest known name.

    >>> bind(Target.NIR, GenerateConfig(generator="ir_nir")).heavy
    False
    """
    target = Target(target.value)
    field = f"build.generate.{target.value}"
    known = registry()
    if section.generator not in known:
        raise ConfigError(
            f"{field}.generator: unknown {section.generator!r}.{did_you_mean(section.generator, list(known))}"
        )
    entry = known[section.generator]
    if target not in entry.targets:
        makes = ", ".join(sorted(entry.targets))
        raise ConfigError(f"{field}.generator: {entry.name!r} makes {makes}, not {target.value}.")
    params = _checked(entry, section.params, f"{field}.params")
    parts: list[Any] = [params, entry.source_hash()]
    if isinstance(params.get("weights"), str):
        parts.append(fingerprints.weights_print(params["weights"]))
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    return BoundGenerator(entry, target, params, digest.hexdigest()[:12])


class _Guarded:
    """Calls a maker with the sources that have what it needs; the others get their reason."""

    def __init__(self, entry: Generator, make: Loaded) -> None:
        self.entry, self.make = entry, make

    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        made: list[Generated | None] = [self._lack(source) for source in sources]
        whole = [i for i, problem in enumerate(made) if problem is None]
        if whole:
            results = self.make([sources[i] for i in whole])
            for i, result in zip(whole, results, strict=True):
                made[i] = result
        return [m for m in made if m is not None]

    def _lack(self, source: GeneratorInput) -> DataError | None:
        name, seen = self.entry.name, [m for m in self.entry.reads if m in source.images]
        if not seen:
            wanted = " or ".join(m.value for m in self.entry.reads)
            return DataError(f"{source.name}: {name} reads {wanted}, which is missing.")
        if source.mask is None:
            missing = f"{source.name}: {name} needs a mask; see build.generate.mask."
            return DataError(missing) if self.entry.needs_mask else None
        height, width = source.images[seen[0]].shape[:2]
        if self.entry.takes_mask and source.mask.shape != (height, width):
            return DataError(f"{source.name}: the mask is {source.mask.shape}, its picture {height, width}.")
        return None


class _Stacked:
    """A function over stacks, called with the sources of one size at a time."""

    def __init__(self, entry: Generator, params: dict[str, Any]) -> None:
        self.entry, self.params = entry, params

    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, source in enumerate(sources):
            shape = source.images[self.entry.reads[0]].shape
            groups.setdefault((shape, source.mask is None), []).append(i)
        made: dict[int, Generated] = {}
        for (shape, _), members in groups.items():
            step = max(1, STACK_PIXELS // max(1, shape[0] * shape[1]))
            for start in range(0, len(members), step):
                chosen = members[start : start + step]
                made |= zip(chosen, self._try([sources[i] for i in chosen]), strict=True)
        return [made[i] for i in range(len(sources))]

    def _try(self, sources: list[GeneratorInput]) -> list[Generated]:
        try:
            return self._make(sources)
        except (AnyReIDError, ValueError, ArithmeticError) as problem:
            if len(sources) == 1:
                return [DataError(str(problem))]
        # One of them is bad. Each generator state is as it was, or the others would come out differently.
        return [made for source in sources for made in self._try([source])]

    def _make(self, sources: list[GeneratorInput]) -> list[Generated]:
        pixels = np.stack([s.images[self.entry.reads[0]] for s in sources])
        given: dict[str, Any] = {}
        masks = [s.mask for s in sources if s.mask is not None]
        if masks and self.entry.takes_mask:
            given["mask"] = np.stack(masks)
        states = [s.rng.bit_generator.state for s in sources]
        try:
            return list(self.entry.maker(pixels, [s.rng for s in sources], **given, **self.params))
        except Exception:
            for source, state in zip(sources, states, strict=True):
                source.rng.bit_generator.state = state
            raise


def _add(entry: Generator) -> None:
    old = _REGISTRY.get(entry.name)
    if old is not None and old.maker.__qualname__ != entry.maker.__qualname__:
        raise ValueError(f"two generators are named {entry.name!r}")
    _REGISTRY[entry.name] = entry


def _checked(entry: Generator, params: dict[str, Any], field: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is inspect.Parameter.empty else p.default)
        for p in entry.parameters().values()
    }
    model = create_model("Params", __config__=ConfigDict(extra="forbid"), **fields)
    checked: dict[str, Any] = check(model, params, field).model_dump(mode="json")
    return checked
