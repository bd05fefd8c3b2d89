"""Field types that several sections share."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from reid.modality import Modality, parse_subset
from reid.config.typed import Plugin, Section, plugin, told

AUTO_PROTOCOL = "auto"
"""As a protocol's name: the labels choose, see reid/evaluate/choice.py."""
DEFAULT_PROTOCOL = AUTO_PROTOCOL
EXTENDED_PROTOCOL = "cross_camera"
"""What `evaluate.protocol.<field>=value` changes where no protocol was named."""


def _protocol(value: Any) -> Any:
    """A registered name, or the section that a mapping composes; ConfigError names the field."""
    return importlib.import_module("reid.config.protocols.catalogue").compose(value)


def _modalities(value: Any) -> Any:
    return list(parse_subset(value)) if isinstance(value, str | list | tuple) else value


ModelSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.models", "model"))]
ReaderSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.data.readers", "data.reader"))]
ProtocolSection = Annotated[str | SerializeAsAny[Section], BeforeValidator(_protocol)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Modalities = Annotated[tuple[Modality, ...], BeforeValidator(told(_modalities))]
ResizeFilter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
