"""The configuration of caption quality: when a caption is bad, and what happens to a generated one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.sections.field_types import Fraction
from reid.config.typed import Section


class CaptionPolicy(Section):
    """When a caption is bad, and what happens to it. Captured captions are judged but never dropped."""

    min_confidence: Fraction = Field(
        0.0, description="least confidence; a caption below it is bad, one without a confidence is not"
    )
    max_tokens: int = Field(
        77,
        ge=3,
        description="largest number of BPE tokens with start and end; text towers cut longer captions",
    )
    max_unknown: int = Field(
        0, ge=0, description="largest number of phrases such as 'unknown' or 'not visible'"
    )
    sure: Fraction = Field(
        0.7,
        description="least confidence at which two sources with different values of an attribute "
        "contradict each other",
    )
    may_differ: tuple[str, ...] = Field(
        ("illumination", "lighting", "time_of_day"),
        description="attributes that may differ between the modalities of one capture",
    )
    on_bad: Literal["keep", "drop", "regenerate"] = Field(
        "regenerate",
        description="what happens to a bad generated caption: keep; drop; regenerate with other "
        "seeds, then drop",
    )
    tries: int = Field(1, ge=1, description="number of new attempts of regenerate")
