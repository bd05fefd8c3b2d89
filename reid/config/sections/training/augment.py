"""Random changes of training images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.sections.field_types import Fraction, ResizeFilter
from reid.config.typed import Section


class AugmentConfig(Section):
    """Random changes of training images. Photometry and erasing are drawn for each image."""

    resize: ResizeFilter = Field(
        "bicubic", description="interpolation filter for resizing training images to height x width"
    )
    geometry: Literal["shared", "independent"] = Field(
        "shared",
        description="flip and crop: the same for all modalities of a row (shared), or drawn for each "
        "(independent)",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    pad: int = Field(10, ge=0, description="padding in pixels before the random crop")
    pad_mode: Literal["zero", "symmetric"] = Field(
        "zero", description="padding before the random crop: black (zero) or mirrored (symmetric)"
    )
    erase: float = Field(
        0.5, ge=0, le=1, description="probability of filling one random box with noise (random erasing)"
    )
    erase_area: tuple[Fraction, Fraction] = Field(
        (0.02, 1 / 3), description="smallest and largest share of the image that an erased box covers"
    )
    jitter: float = Field(0.0, ge=0, le=1, description="largest relative change of brightness and contrast")
    random_channel: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that an RGB image is replaced by one of its channels in grey; "
        "SAAI's code has 3/11, CAJ's 3/4",
    )
