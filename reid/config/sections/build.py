"""The configuration of `build`: how raw samples become a shard set.

`content()` has the fields that name the set. It leaves out resources and limits, so that a set built with
more workers is the same set.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reid.config.sections.captions import CaptionPolicy
from reid.config.typed import Section
from reid.modality import Target


class StageConfig(Section):
    """The resources of a stage; the stage's result does not depend on them."""

    concurrency: int | None = Field(
        None, ge=1, description="parallel tasks; default: build.concurrency, or the number of CPUs"
    )
    cpus: float = Field(1.0, gt=0, description="logical CPUs of each task")


class GenerateConfig(Section):
    """One generated modality, or the mask: the generator's registered name and its parameters.

    Functions run in the stage `build.light`; a generator with a network has its own processes, with the
    resources `concurrency`, `cpus` and `gpus`.
    """

    generator: str = Field(description="registered name of the generator")
    params: dict[str, float | int | str | bool] = Field(
        {}, description="parameters of the generator by name; others keep their defaults"
    )
    missing_only: bool = Field(
        True, description="keep captured images and masks, and generate only what is missing"
    )
    batch_size: int = Field(16, ge=1, description="largest number of captures in one call of the generator")
    concurrency: int | None = Field(
        None, ge=1, description="processes that hold the network (networks only); default: 1"
    )
    cpus: float | None = Field(
        None, gt=0, description="logical CPUs of each process (networks only); default: 1"
    )
    gpus: float = Field(0, ge=0, description="GPUs of each process (networks only); 0 runs on the CPU")

    def content(self) -> dict[str, Any]:
        """The fields that the result depends on."""
        return self.model_dump(mode="json", include={"generator", "params", "missing_only"})


_CONTENT = ("rows_per_shard", "rows_per_group", "max_pixels", "seed")


class BuildConfig(Section):
    """How raw samples become a shard set."""

    generate: dict[Target, GenerateConfig] = Field(
        {}, description="generators by target: a modality, or mask"
    )
    rows_per_shard: int = Field(512, ge=1, description="largest number of rows in a Parquet file")
    rows_per_group: int = Field(
        64, ge=1, description="target number of rows in a row group; an identity is never split over two"
    )
    max_bad_fraction: float = Field(
        0.5, ge=0, le=1, description="largest share of rejected rows; the build fails above it"
    )
    max_pixels: int = Field(
        64_000_000,
        ge=1,
        le=64_000_000,
        description="largest number of pixels of an image; larger ones are rejected unread",
    )
    seed: int = Field(0, ge=0, description="random seed of the generators; training has its own (`seed`)")
    duplicates: Literal["keep", "warn", "quarantine"] = Field(
        "warn",
        description="what happens to equal pictures of different identities: kept, kept with a "
        "warning, or put into quarantine",
    )
    clean: Literal["never", "stray", "superseded"] = Field(
        "stray",
        description="what is deleted after a build: never: nothing; stray: unfinished files of "
        "killed builds; superseded: also finished shards that the new manifest does not "
        "list (no other process may be reading the old set)",
    )
    clean_after_s: float = Field(3600, ge=0, description="least age in seconds of files that are deleted")
    captions: CaptionPolicy = Field(
        CaptionPolicy(), description="when a generated caption is bad, and what happens to it"
    )
    concurrency: int | None = Field(None, ge=1, description="parallel shard tasks; default: one for each CPU")
    read: StageConfig = Field(StageConfig(), description="resources for reading and checking raw files")
    light: StageConfig = Field(StageConfig(), description="resources for generators that are functions")
    write: StageConfig = Field(StageConfig(), description="resources for writing shards")

    def content(self) -> dict[str, Any]:
        """The fields that a set's rows depend on, which name the set; resources and limits are not among
        them.
        """
        captions = {"captions": self.captions.model_dump(mode="json")} if Target.TEXT in self.generate else {}
        return {
            **{name: getattr(self, name) for name in _CONTENT},
            **captions,
            "generate": {target.value: section.content() for target, section in self.generate.items()},
            "set_aside_conflicts": self.duplicates == "quarantine",
        }
