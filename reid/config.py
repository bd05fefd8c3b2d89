"""Typed, strict configuration: one schema for all verbs, YAML presets, dotted overrides.

`load()` is the only way in. A section whose fields depend on a name (the model, the reader) is a `Plugin`:
its `name` picks a module of a package and that module's `Config` class gives the fields, so that adding a
model or a reader is adding one file.
"""

from __future__ import annotations

import importlib
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo, field_validator

from reid import yamlio
from reid.errors import ConfigError, UsageError
from reid.modality import Modality, parse_subset
from reid.sections import Plugin, Section, check, did_you_mean, fingerprint, plugin, plugin_names, told

__all__ = ["Config", "Plugin", "Section", "fingerprint", "load", "override", "plugin_names", "presets"]

PRESETS = "reid.presets"
DEFAULT_PROTOCOL = "cross_camera"


def _protocol(value: Any) -> Any:
    """A registered name, or the section that a mapping composes; ConfigError names the field."""
    return importlib.import_module("reid.evaluate.catalogue").compose(value)


def _modalities(value: Any) -> Any:
    return list(parse_subset(value)) if isinstance(value, str | list | tuple) else value


ModelSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.models", "model"))]
ReaderSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.data.readers", "data.reader"))]
ProtocolSection = Annotated[str | SerializeAsAny[Section], BeforeValidator(_protocol)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Modalities = Annotated[tuple[Modality, ...], BeforeValidator(told(_modalities))]
ResizeFilter = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class DataConfig(Section):
    """What is read, and what a model sees of it."""

    name: str = Field(description="name of the data set; part of paths and of every sample")
    reader: ReaderSection
    shards: str | None = Field(None, description="shard set; default: a content-addressed folder in workdir")
    modalities: Modalities = Field(description="modalities that training and evaluation use")
    height: int = Field(256, ge=8)
    width: int = Field(128, ge=8)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)
    resize: ResizeFilter = Field(
        "bicubic", description="resampling to height x width outside training; training: train.augment.resize"
    )
    cache_mib: int = Field(1024, ge=0, description="decoded-image cache a process may hold")


class GenerateConfig(Section):
    """One generated modality: the generator's registered name and its parameters."""

    generator: str
    params: dict[str, float | int | str | bool] = Field({})
    missing_only: bool = Field(True, description="keep captured images; generate only where there is none")


class BuildConfig(Section):
    """How raw samples become a shard set."""

    generate: dict[Modality, GenerateConfig] = Field({})
    rows_per_shard: int = Field(512, ge=1)
    rows_per_group: int = Field(
        64, ge=1, description="target; an identity is never split over two row groups"
    )
    max_bad_fraction: float = Field(
        0.5, ge=0, le=1, description="fail when more rows than this are set aside"
    )
    max_pixels: int = Field(64_000_000, ge=1, le=64_000_000, description="larger images are set aside unread")
    seed: int = Field(0, ge=0, description="of the generators; `seed` itself is training's")
    concurrency: int | None = Field(None, ge=1, description="parallel shard tasks; default: one a CPU")


class AugmentConfig(Section):
    """Training-time transforms; photometry and erasing are drawn for each picture, never shared."""

    resize: ResizeFilter = Field("bicubic", description="resampling of training pictures to height x width")
    geometry: Literal["shared", "independent"] = Field(
        "shared", description="flip and crop: one draw a row, or one for each modality of it"
    )
    flip: float = Field(0.5, ge=0, le=1, description="chance of a horizontal flip")
    pad: int = Field(10, ge=0, description="zero padding in pixels before the random crop")
    erase: float = Field(0.5, ge=0, le=1, description="chance to fill one random box with noise")
    erase_area: tuple[Fraction, Fraction] = Field((0.02, 1 / 3), description="least and most, of the image")
    jitter: float = Field(0.0, ge=0, le=1, description="brightness and contrast jitter, fraction")


class BatchConfig(Section):
    """Streaming batches. P and K are global; a rank draws P / world identities."""

    sampler: Literal["pk", "tuple"] = "pk"
    identities: int = Field(8, ge=1, description="P")
    instances: int = Field(8, ge=1, description="K")
    reservoir_rows: int = Field(20_000, ge=1, description="bound of the pool of whole identities")
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="chance to hide a modality of a row; one stays"
    )


class GroupConfig(Section):
    """An optimiser group: the parameters whose name `match` is found in; the first such row wins."""

    match: str = Field(description="regular expression, e.g. ^image_tower\\.")
    lr: float = Field(gt=0, description="peak learning rate")
    bias_lr_factor: float | None = Field(
        None, gt=0, description="lr of the row's biases, relative to the row's lr; default: 1"
    )
    weight_decay: float | None = Field(None, ge=0, description="default: train.optim.weight_decay")


class OptimConfig(Section):
    """Optimiser and learning-rate schedule."""

    name: Literal["adam", "adamw"] = Field("adamw", description="adam: decay as L2 in the gradient")
    lr: float = Field(3.5e-4, gt=0, description="base learning rate: the peak outside `groups`")
    bias_lr_factor: float = Field(
        1.0, gt=0, description="lr of biases outside `groups`, relative to the base lr"
    )
    weight_decay: float = Field(1e-4, ge=0)
    groups: tuple[GroupConfig, ...] = Field((), description="peaks by parameter name")
    warmup_epochs: float = Field(0.0, ge=0, description="linear warm-up, before any schedule")
    warmup_factor: float = Field(0.1, ge=0, le=1, description="lr at the start, see warmup_reference")
    warmup_reference: Literal["group", "base"] = Field(
        "group", description="start at factor x the group's lr, or x the base lr for all"
    )
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine", description="after the warm-up; cosine runs over all epochs, the warm-up's included"
    )
    final_factor: float = Field(
        1e-3, ge=0, le=1, description="cosine: lr at the end, relative to the base lr"
    )
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), validate_default=True, description="multistep: from each of these epochs on, lr x gamma"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="multistep: factor of each milestone")
    per: Literal["step", "epoch"] = Field(
        "step",
        description="step: the schedule moves with every step, from 0; epoch: the n-th epoch has the "
        "schedule's value at n throughout (n = 1 ..)",
    )
    noise: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="multiply the lr of every epoch but the last by 1 + a normal draw below this in size "
        "(the tri-modal papers' code: 0.67); the same draws in every run",
    )
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the whole gradient")

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("give them in ascending order, none twice")
        if not value and info.data.get("schedule") == "multistep":
            raise ValueError("schedule multistep needs milestones, e.g. [20, 40]")
        return value

    @field_validator("noise")
    @classmethod
    def _drawable(cls, value: float) -> float:
        if 0 < value < 0.001:  # draws are repeated until one is below it
            raise ValueError("0 is none; otherwise at least 0.001")
        return value


class ValConfig(Section):
    """Identities held out of training for model selection and calibration."""

    fraction: float = Field(0.0, ge=0, lt=1, description="share of the training identities; 0: keep the last")
    every_epochs: int = Field(1, ge=1, description="also after the last epoch")
    protocol: str = Field(
        "cross_camera", description="as evaluate.protocol; held-out rows have no query or gallery roles"
    )
    gallery: Modalities = Field((Modality.RGB,), description="what any-to-any models are validated against")
    calibrate: bool = Field(True, description="after training, fit likelihood ratios to the held-out scores")
    calibrator: Literal["logistic", "isotonic"] = "logistic"
    calibrate_pairings: int = Field(
        32, ge=1, description="most pairings of subsets that are calibrated: single modalities, all, the rest"
    )


class TrainConfig(Section):
    """One training run."""

    epochs: int = Field(45, ge=0, description="0 writes a run of the initial weights")
    steps_per_epoch: int | None = Field(None, ge=1, description="default: once over the training groups")
    workers: int = Field(1, ge=0, description="Ray Train workers; 0 trains in this process without Ray")
    gpus_per_worker: int = Field(0, ge=0)
    cpus_per_worker: int = Field(1, ge=1)
    loader_threads: int = Field(1, ge=0, description="batches prepared ahead by this many threads")
    precision: Literal["fp32", "bf16"] = "fp32"
    global_statistics: bool = Field(True, description="losses and BN see the batch of all ranks")
    find_unused_parameters: bool = False
    optim: OptimConfig = OptimConfig()
    batch: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    val: ValConfig = ValConfig()
    init_from: str | None = Field(None, description="run folder whose weights initialise the whole model")
    checkpoint_every: int = Field(1, ge=1, description="epochs")
    max_failures: int = Field(1, ge=0, description="worker-group restarts from the last checkpoint")


class RerankConfig(Section):
    """k-reciprocal re-ranking; the defaults are its paper's."""

    k1: int = Field(20, ge=1, description="neighbours that are looked at")
    k2: int = Field(6, ge=1, description="neighbours whose descriptions are averaged; 1: none")
    lambda_value: float = Field(0.3, ge=0, le=1, description="weight of the original distance")


class EvaluateConfig(Section):
    """What is measured. A subset spells its query side, or both: "sketch", "text->rgb", "nir->rgb|nir"."""

    split: Literal["train", "val", "test"] = "test"
    protocol: ProtocolSection = Field(
        DEFAULT_PROTOCOL, description="registered name, or a mapping that composes one (extends: <name>)"
    )
    subsets: tuple[str, ...] | None = Field(
        None, description="default: what the protocol asks, or every subset that the model answers"
    )
    gallery: str | None = Field(
        None, description="gallery modalities, rgb|nir for a mixed gallery; default: the model's"
    )
    missing: Literal["query", "gallery", "both"] | None = Field(
        None, description="every subset of this side (of both alike) against the full other one"
    )
    rerank: RerankConfig | None = Field(None, description="k-reciprocal re-ranking before exclusions")
    batch_size: int = Field(64, ge=1)
    actors: int = Field(1, ge=0, description="embedding actors; 0 embeds in this process")
    gpus_per_actor: float = Field(0, ge=0)
    ranks_shown: int = Field(10, ge=1)
    queries_shown: int = Field(12, ge=0)
    histogram: bool = Field(True, description="also rank by colour histogram, as an orientation")

    @field_validator("subsets", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("subsets", "gallery")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        for pairing in [value] if isinstance(value, str) else value or ():
            for kind in pairing.replace("->", "|").split("|"):
                told(parse_subset)(kind)
        return value

    @field_validator("missing")
    @classmethod
    def _makes_its_own_pairings(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("subsets") is not None:
            raise ValueError("a grid of missing modalities makes its own pairings; set evaluate.subsets=null")
        return value


class TuneConfig(Section):
    """A search. `space` maps a dotted config field to {choice|uniform|loguniform|randint: [...]}."""

    space: dict[str, dict[Literal["choice", "uniform", "loguniform", "randint"], list[Any]]] = Field({})
    trials: int = Field(8, ge=1)
    concurrent: int | None = Field(None, ge=1)
    metric: str = "val/mAP"
    mode: Literal["max", "min"] = "max"
    epochs: int | None = Field(None, ge=1, description="epochs of a trial; default train.epochs")
    steps_per_epoch: int | None = Field(None, ge=1, description="of a trial; default: training's")
    grace_epochs: int = Field(1, ge=1)
    reduction: int = Field(3, ge=2)


class AblateConfig(Section):
    """A ladder: rows of changed fields, each trained and evaluated with several training seeds."""

    ladder: str | None = Field(
        None, description="shipped ladder, or a YAML file of rows; default: model.name"
    )
    rows: tuple[str, ...] | None = Field(
        None, min_length=1, description="rows by name, compared with the first of them; default: all"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), min_length=1, description="values of `seed`; the data stay the same"
    )
    metrics: tuple[Literal["mAP", "R1", "R5", "R10", "mINP"], ...] = Field(
        ("mAP", "R1"), min_length=1, description="shown in the table, differences for the first"
    )
    subset: str | None = Field(
        None, description="which evaluated pairing is shown; default: the one with most modalities"
    )

    @field_validator("rows", "metrics", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("rows", "seeds", "metrics")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("give none twice")
        return value

    @field_validator("subset")
    @classmethod
    def _spelled(cls, value: str | None) -> str | None:
        for kind in [] if value is None else value.replace("->", "|").split("|"):
            told(parse_subset)(kind)
        return value


class IndexConfig(Section):
    """The durable gallery."""

    gallery: str | None = Field(None, description="where; default: a folder in workdir named by the run")
    split: Literal["train", "val", "test"] = "test"
    subsets: tuple[str, ...] | None = Field(
        None, description="gallery subsets to embed; default: the model's"
    )
    thumbnail: int = Field(128, ge=16, description="longest side of stored thumbnails, pixels")
    search: Literal["exact", "ann"] = "exact"
    batch_size: int = Field(64, ge=1)


class ServeConfig(Section):
    """The endpoint. Mutating routes need the token; `auth: all` guards searching too."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    route_prefix: str = "/"
    auth: Literal["mutating", "all"] = "mutating"
    token_env: str = "ANYREID_TOKEN"
    max_upload_mib: float = Field(8.0, gt=0)
    max_pixels: int = Field(20_000_000, gt=0)
    max_text_chars: int = Field(1000, gt=0)
    max_top_k: int = Field(100, ge=1)
    requests_per_minute: int = Field(600, ge=1, description="per client address, per replica")
    batch_size: int = Field(8, ge=1)
    batch_wait_s: float = Field(0.005, ge=0)
    replicas: int = Field(1, ge=1)
    gpus_per_replica: float = Field(0, ge=0)
    prior: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="chance that an item is the query's object before looking; default: 1 / (items + 1)",
    )


class RayConfig(Section):
    """How Ray is started and set when there is no cluster to join (RAY_ADDRESS is honoured)."""

    profile: Literal["small", "cluster"] = "small"
    num_cpus: int | None = Field(None, ge=1, description="logical CPUs of a local Ray; default: cores + 1")
    object_store_mib: int = Field(512, ge=80)


class Config(Section):
    """Everything a verb can need."""

    name: str = Field(description="names the runs, e.g. baseline-synthetic")
    workdir: str = "runs"
    seed: int = Field(0, ge=0)
    run: str | None = Field(
        None, description="run folder to evaluate/index/serve; default: this config's own"
    )
    data: DataConfig
    build: BuildConfig = BuildConfig()
    model: ModelSection
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tune: TuneConfig = TuneConfig()
    ablate: AblateConfig = AblateConfig()
    index: IndexConfig = IndexConfig()
    serve: ServeConfig = ServeConfig()
    ray: RayConfig = RayConfig()


def presets() -> list[str]:
    """Names of the shipped presets, e.g. "baseline/synthetic"."""
    root = importlib.resources.files(PRESETS)
    return sorted(
        f"{system.name}/{Path(entry.name).stem}"
        for system in root.iterdir()
        if system.is_dir()
        for entry in system.iterdir()
        if entry.name.endswith(".yaml")
    )


def load(source: str | Path | dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Resolve a preset name, a YAML path or a dict, with `a.b=value` overrides, into a Config.

    A YAML may say `extends: <preset>`; its own keys win. Raises ConfigError naming the field, with the
    nearest known name, and UsageError for an unknown preset.
    """
    tree = dict(source) if isinstance(source, dict) else _read_tree(str(source))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"Override {override!r} is not of the form section.field=value.")
        try:
            value = yamlio.parse(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"Override {key}: {text!r} is not valid YAML ({error}).") from None
        _assign(tree, key.split("."), value, key)
    return _config(tree)


def _read_tree(source: str, trail: tuple[str, ...] = ()) -> dict[str, Any]:
    if source.endswith((".yaml", ".yml")):
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"{source}: no such config file.")
        text, where = path.read_text(encoding="utf-8"), source
    else:
        if source not in presets():
            raise UsageError(f"Unknown preset {source!r}.{did_you_mean(source, presets())}")
        system, name = source.split("/")
        text = (importlib.resources.files(PRESETS) / system / f"{name}.yaml").read_text(encoding="utf-8")
        where = f"preset {source}"
    try:
        tree = yamlio.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error}).") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected a mapping of sections.")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    base = str(base)
    if base.endswith((".yaml", ".yml")):
        base = str(Path(source).parent / base)
    if base in trail:
        raise ConfigError(f"{where}: extends goes in a circle ({' -> '.join([*trail, base])}).")
    return merge(_read_tree(base, (*trail, base)), tree)


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of mappings; `top` wins. A plugin section with another name replaces the whole section."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if (
            not isinstance(value, dict)
            or not isinstance(old, dict)
            or (key in {"model", "reader"} and value.get("name", old.get("name")) != old.get("name"))
            or (key == "protocol" and value.get("extends", old.get("extends")) != old.get("extends"))
        ):
            merged[key] = value
        else:
            merged[key] = merge(old, value)
    return merged


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy of `config` with dotted fields replaced, validated anew."""
    tree = config.model_dump(mode="json")
    for key, value in values.items():
        _assign(tree, key.split("."), value, key)
    return _config(tree)


def _assign(tree: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        child = tree.get(part)
        if part == "protocol" and not isinstance(child, dict):
            child = {"extends": child or DEFAULT_PROTOCOL}
        elif child is None:
            child = {}
        elif isinstance(child, str) and part in {"model", "reader"}:
            child = {"name": child}
        elif not isinstance(child, dict):
            raise ConfigError(f"{key}: {part!r} is a value, not a section.")
        child = dict(child)
        tree[part] = child
        tree = child
    tree[path[-1]] = value


def _config(tree: dict[str, Any]) -> Config:
    config: Config = check(Config, tree)
    return config
