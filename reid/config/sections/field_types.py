"""Field types that several sections share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from reid.config.protocols.catalogue import compose
from reid.config.typed import Plugin, Section, as_validator, plugin
from reid.modality import Modality, parse_subset


def _modalities(value: Any) -> Any:
    return list(parse_subset(value)) if isinstance(value, str | list | tuple) else value


ModelSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.models", "model"))]
ReaderSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.data.readers", "data.reader"))]
ProtocolSection = Annotated[str | SerializeAsAny[Section], BeforeValidator(compose)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Modalities = Annotated[tuple[Modality, ...], BeforeValidator(as_validator(_modalities))]
ResizeFilter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
