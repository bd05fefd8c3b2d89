"""The configuration of an evaluation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from reid.config.overrides import DEFAULT_PROTOCOL
from reid.config.sections.field_types import Gpus, ProtocolSection, check_pairing
from reid.config.typed import Section, as_validator
from reid.modality import parse_subset


class RerankConfig(Section):
    """k-reciprocal re-ranking; the defaults are the paper's."""

    k1: int = Field(20, ge=1, description="number of neighbours that describe an image")
    k2: int = Field(
        6, ge=1, description="number of neighbours whose descriptions are averaged; 1: none but its own"
    )
    lambda_value: float = Field(
        0.3, ge=0, le=1, description="weight of the original distance against the Jaccard distance"
    )


class EvaluateConfig(Section):
    """What is measured, and how. A pairing is written "sketch", "text->rgb" or "nir->rgb|nir"."""

    split: Literal["train", "val", "test"] = Field("test", description="split whose samples are ranked")
    protocol: ProtocolSection = Field(
        DEFAULT_PROTOCOL,
        description="name of a protocol, or a mapping that composes one (extends: <name>); auto: "
        "cross_camera where an identity was seen by two cameras, else roles",
    )
    subsets: tuple[str, ...] | None = Field(
        None,
        description="pairings to measure, e.g. text->rgb, with an anchor nir+sketch@sketch->rgb, with "
        "several samples sketch*2->rgb; default: those of the protocol, or all that the model supports",
    )
    gallery: str | None = Field(
        None,
        description="modalities of gallery items, e.g. rgb, or rgb|nir for a mixed gallery; "
        "default: the model's",
    )
    missing: Literal["query", "gallery", "both"] | None = Field(
        None,
        description="side on which modalities are missing: each of its subsets is measured against "
        "the full other side; both: the same subset on both sides",
    )
    rerank: RerankConfig | None = Field(
        None, description="k-reciprocal re-ranking, applied before exclusions; null: none"
    )
    batch_size: int = Field(64, ge=1, description="number of samples embedded together")
    actors: int = Field(
        1, ge=0, description="number of Ray actors that embed and score large evaluations; 0: this process"
    )
    gpus_per_actor: Gpus = Field(
        "auto",
        description="GPUs of each actor (or of this process), whole or a part; auto: an equal share of those "
        "that are there, at most one; 0 embeds on the CPU",
    )
    ranks_shown: int = Field(
        10, ge=1, description="number of gallery items shown for each query in the report"
    )
    queries_shown: int = Field(12, ge=0, description="number of queries whose rankings the report shows")
    histogram: bool = Field(True, description="also rank by colour histogram, as a simple baseline")

    @field_validator("subsets", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("subsets")
    @classmethod
    def _rows(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pairing in value or ():
            check_pairing(pairing)
        return value

    @field_validator("gallery")
    @classmethod
    def _kinds(cls, value: str | None) -> str | None:
        for kind in value.split("|") if value else ():
            as_validator(parse_subset)(kind)
        return value

    @field_validator("missing")
    @classmethod
    def _makes_its_own_pairings(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("subsets") is not None:
            raise ValueError("a grid of missing modalities makes its own pairings; set evaluate.subsets=null")
        return value
