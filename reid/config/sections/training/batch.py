"""How training batches are sampled and read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from reid.config.results import SAME_RESULT
from reid.config.typed import Section


class PerRank(Section):
    """A rule for P: so many identities on every rank, however many ranks there are."""

    per_rank: int = Field(ge=1, description="identities that each rank draws; P is this times the ranks")


def _number_or_rule(value: Any) -> Any:
    if isinstance(value, PerRank):
        return value
    if isinstance(value, dict) and set(value) == {"per_rank"}:
        return PerRank.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a number of at least 1, or {{per_rank: 8}}, not {value!r}")
    return value


class BatchConfig(Section):
    """Streaming batches. P and K are global; each rank draws P / world identities."""

    sampler: Literal["pk", "tuple", "cross"] = Field(
        "pk",
        description="pk: P identities x K captures; tuple: P identities with one row each, an RGB "
        "anchor with every other modality of its identity; cross: P x K rows of one "
        "image, half of them RGB, half NIR or TIR",
    )
    identities: Annotated[int | PerRank, BeforeValidator(_number_or_rule)] = Field(
        8,
        description="identities in each global batch (P): a number, which the ranks share equally and which "
        "keeps the recipe whatever their number, or {per_rank: 8}, so many on each rank "
        "(train.optim.scale_lr: learning rates that follow)",
    )
    instances: int = Field(
        8, ge=1, description="captures of each identity in a batch (K); even for cross, not used by tuple"
    )
    pairing: Literal["same_id", "same_sample"] = Field(
        "same_id",
        description="sampler tuple: the anchor's other modalities come from any captures of its "
        "identity (same_id), or from its own capture (same_sample)",
    )
    incomplete: Literal["skip", "error", "allow"] = Field(
        "skip",
        description="sampler tuple: identities (same_sample: anchors) that lack a modality are left "
        "out and counted (skip), refused (error), or used with what they have (allow)",
    )
    reservoir_rows: int = Field(
        20_000,
        ge=1,
        description="largest number of rows in the pool of whole identities that batches are drawn from",
    )
    prefetch_mib: float = Field(
        64,
        ge=0,
        description="MiB of row groups read before they are needed; 0 reads each when it is needed",
        json_schema_extra=SAME_RESULT,
    )
    prefetch_threads: int = Field(
        4,
        ge=1,
        description="number of row groups read at the same time; use more for distant storage",
        json_schema_extra=SAME_RESULT,
    )
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of hiding a modality of a row; at least one remains"
    )

    def global_identities(self, world: int) -> int:
        """P for so many ranks.

        >>> BatchConfig(identities={"per_rank": 8}).global_identities(64), BatchConfig().global_identities(64)
        (512, 8)
        """
        return self.identities if isinstance(self.identities, int) else self.identities.per_rank * world

    @field_validator("instances")
    @classmethod
    def _halves(cls, value: int, info: ValidationInfo) -> int:
        if value % 2 and info.data.get("sampler") == "cross":
            raise ValueError("sampler cross takes half of them in each spectrum: give an even number")
        return value
