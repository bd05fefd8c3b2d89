"""Settings of caption quality: what is a bad caption, and what happens to a generated one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.sections.field_types import Fraction
from reid.config.typed import Section


class CaptionPolicy(Section):
    """When a caption is bad, and what happens then. Captured captions are judged, never dropped."""

    min_confidence: Fraction = Field(
        0.0, description="a caption of less is bad; one without confidence passes"
    )
    max_tokens: int = Field(
        77, ge=3, description="BPE tokens with start and end; text towers cut what is longer"
    )
    max_unknown: int = Field(0, ge=0, description="most phrases such as 'unknown' or 'not visible'")
    sure: Fraction = Field(
        0.7, description="sources contradict that name different values of an attribute, each so sure"
    )
    may_differ: tuple[str, ...] = Field(
        ("illumination", "lighting", "time_of_day"),
        description="attributes that the modalities of one capture may see differently",
    )
    on_bad: Literal["keep", "drop", "regenerate"] = Field(
        "regenerate", description="of a generated caption; regenerate: ask again with other seeds, then drop"
    )
    tries: int = Field(1, ge=1, description="of regenerate, after the first")
