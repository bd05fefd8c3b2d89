"""Settings of `build`: how raw samples become a shard set.

What a field says decides whether it is part of the set's name: `content()` leaves out where and how fast
the work is done, so that a set built with more workers is the same set.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reid.config.sections.captions import CaptionPolicy
from reid.config.typed import Section
from reid.modality import Target


class StageConfig(Section):
    """Where a stage of the build runs; its result does not depend on it."""

    concurrency: int | None = Field(
        None, ge=1, description="parallel tasks; default: build.concurrency, else as many as there are CPUs"
    )
    cpus: float = Field(1.0, gt=0, description="logical CPUs that a task takes")


class GenerateConfig(Section):
    """One generated modality, or the mask: the generator's registered name and its parameters.

    A generator that is a function runs in the stage `build.light`; one that loads a network has a pool of
    processes of its own, which `concurrency`, `cpus` and `gpus` describe.
    """

    generator: str
    params: dict[str, float | int | str | bool] = Field({})
    missing_only: bool = Field(
        True, description="keep captured images and masks; generate only where there is none"
    )
    batch_size: int = Field(16, ge=1, description="captures handed over at once, at most")
    concurrency: int | None = Field(
        None, ge=1, description="networks only: processes that hold it; default: 1"
    )
    cpus: float | None = Field(None, gt=0, description="networks only: logical CPUs of a process; default: 1")
    gpus: float = Field(0, ge=0, description="networks only: GPUs of a process; 0 runs on the CPU")

    def content(self) -> dict[str, Any]:
        """The fields that what is made depends on."""
        return self.model_dump(mode="json", include={"generator", "params", "missing_only"})


_CONTENT = ("rows_per_shard", "rows_per_group", "max_pixels", "seed")


class BuildConfig(Section):
    """How raw samples become a shard set."""

    generate: dict[Target, GenerateConfig] = Field({})
    rows_per_shard: int = Field(512, ge=1)
    rows_per_group: int = Field(
        64, ge=1, description="target; an identity is never split over two row groups"
    )
    max_bad_fraction: float = Field(
        0.5, ge=0, le=1, description="fail when more rows than this are set aside"
    )
    max_pixels: int = Field(64_000_000, ge=1, le=64_000_000, description="larger images are set aside unread")
    seed: int = Field(0, ge=0, description="of the generators; `seed` itself is training's")
    duplicates: Literal["keep", "warn", "quarantine"] = Field(
        "warn",
        description="equal pictures of different identities: say nothing, warn, or set all of them aside",
    )
    clean: Literal["never", "stray", "superseded"] = Field(
        "stray",
        description="after a build, delete what killed builds left half-done (stray), and also finished "
        "shards that the new manifest does not name (superseded: nobody may be reading the old set)",
    )
    clean_after_s: float = Field(3600, ge=0, description="delete only files that are older, in seconds")
    captions: CaptionPolicy = Field(CaptionPolicy(), description="what becomes of bad generated captions")
    concurrency: int | None = Field(None, ge=1, description="parallel shard tasks; default: one a CPU")
    read: StageConfig = Field(StageConfig(), description="reading and checking raw files")
    light: StageConfig = Field(StageConfig(), description="generators that are functions")
    write: StageConfig = Field(StageConfig(), description="writing shards")

    def content(self) -> dict[str, Any]:
        """The fields that a set's rows depend on: they name it; resources and limits do not."""
        captions = {"captions": self.captions.model_dump(mode="json")} if Target.TEXT in self.generate else {}
        return {
            **{name: getattr(self, name) for name in _CONTENT},
            **captions,
            "generate": {target.value: section.content() for target, section in self.generate.items()},
            "set_aside_conflicts": self.duplicates == "quarantine",
        }
