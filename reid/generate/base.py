"""The registry of generators: pure functions image -> image that make a missing modality.

A generator is a function `(pixels (H, W, 3) uint8, rng, **params) -> (H, W) or (H, W, 3) uint8`, registered
with the modality it makes; its keyword parameters and their defaults are its configuration.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from pydantic import ConfigDict, ValidationError, create_model

import reid.generate
from reid.config import GenerateConfig
from reid.data.images import Pixels
from reid.errors import ConfigError
from reid.modality import Modality


class ImageFunction(Protocol):
    """Pixels in, pixels out; deterministic given the generator state."""

    def __call__(self, pixels: Pixels, rng: np.random.Generator, **params: Any) -> Pixels: ...


F = TypeVar("F", bound=Callable[..., Pixels])


@dataclass(frozen=True)
class Entry:
    """A registered generator."""

    name: str
    targets: frozenset[Modality]
    function: Callable[..., Pixels]

    def source_hash(self) -> str:
        """Hash of its file and the shared filters: a changed generator regenerates its images."""
        own = inspect.getsourcefile(self.function)
        files = [Path(own)] if own else []
        files.append(Path(__file__).with_name("filters.py"))
        return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


_REGISTRY: dict[str, Entry] = {}


def generator(name: str, *targets: Modality) -> Callable[[F], F]:
    """Register a function as a maker of these modalities."""

    def register(function: F) -> F:
        _REGISTRY[name] = Entry(name, frozenset(targets), function)
        return function

    return register


def registry() -> dict[str, Entry]:
    """Every generator, by name."""
    for module in pkgutil.iter_modules(reid.generate.__path__):
        importlib.import_module(f"reid.generate.{module.name}")
    return dict(_REGISTRY)


@dataclass(frozen=True)
class BoundGenerator:
    """A generator with its checked parameters, ready to make one modality."""

    entry: Entry
    target: Modality
    params: dict[str, Any]
    params_hash: str

    def __call__(self, pixels: Pixels, content_hash: str, seed: int) -> Pixels:
        """Make the target image. Deterministic by (content hash, seed, generator, parameters)."""
        text = f"{content_hash}|{seed}|{self.entry.name}|{self.params_hash}"
        state = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        return self.entry.function(pixels, np.random.default_rng(state), **self.params)


def bind(target: Modality, section: GenerateConfig) -> BoundGenerator:
    """Check a config's generator and parameters. Raises ConfigError naming the field and the nearest name."""
    field = f"build.generate.{target.value}"
    known = registry()
    if section.generator not in known:
        near = difflib.get_close_matches(section.generator, list(known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{field}.generator: unknown {section.generator!r}.{hint} Known: {', '.join(known)}."
        )
    entry = known[section.generator]
    if target not in entry.targets:
        makes = ", ".join(sorted(entry.targets))
        raise ConfigError(f"{field}.generator: {entry.name!r} makes {makes}, not {target.value}.")
    params = _check(entry, section.params, f"{field}.params")
    digest = hashlib.sha256(json.dumps([params, entry.source_hash()], sort_keys=True).encode())
    return BoundGenerator(entry, target, params, digest.hexdigest()[:12])


def _check(entry: Entry, params: dict[str, Any], field: str) -> dict[str, Any]:
    signature = inspect.signature(entry.function, eval_str=True)
    fields: dict[str, Any] = {
        p.name: (p.annotation, p.default)
        for p in signature.parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for key in params:
        if key not in fields:
            near = difflib.get_close_matches(key, list(fields), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{field}.{key}: unknown key.{hint} Known: {', '.join(fields)}.")
    model = create_model("Params", __config__=ConfigDict(extra="forbid"), **fields)
    try:
        return model.model_validate(params).model_dump()
    except ValidationError as error:
        item = error.errors()[0]
        raise ConfigError(f"{field}.{item['loc'][0]}: {item['msg']}.") from None
