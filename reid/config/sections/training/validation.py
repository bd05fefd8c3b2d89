"""Validation on identities held out of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.overrides import DEFAULT_PROTOCOL
from reid.config.sections.field_types import Modalities
from reid.config.typed import Section
from reid.modality import PHOTO


class ValConfig(Section):
    """Validation on identities held out of training, for model selection and calibration."""

    fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training identities held out for validation, at least two; 0: "
        "none, and the last epoch is kept",
    )
    every_epochs: int = Field(
        1, ge=1, description="epochs between two validations; the last epoch is always validated"
    )
    protocol: str = Field(
        DEFAULT_PROTOCOL,
        description="protocol of the validation: auto or a registered name; held-out rows have no "
        "query or gallery roles",
    )
    gallery: Modalities = Field(
        (PHOTO,), description="gallery modalities in the validation of any-to-any models"
    )
    calibrate: bool = Field(
        True, description="fit likelihood ratios to the scores of the held-out identities after training"
    )
    calibrator: Literal["logistic", "isotonic"] = Field(
        "logistic", description="how likelihood ratios are fitted to scores"
    )
    calibrate_pairings: int = Field(
        32,
        ge=1,
        description="largest number of calibrated pairings: single modalities first, then all "
        "together, then the rest",
    )
