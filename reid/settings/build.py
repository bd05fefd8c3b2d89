"""The configuration of a build: generators, shards, limits."""

from __future__ import annotations

from pydantic import Field

from reid.modality import Modality
from reid.sections import Section


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
