"""Field types that several sections share."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny

from reid.config.protocols.catalogue import compose
from reid.config.protocols.query_names import parse_query
from reid.config.typed import Plugin, Section, as_validator, plugin
from reid.errors import AnyReIDError
from reid.modality import FOURTH_BANDS, INFRARED, VISUAL, Modality, parse_modality, parse_subset, subset_name


def _modalities(value: Any) -> Any:
    return list(parse_subset(value)) if isinstance(value, str | list | tuple) else value


DROP = "drop"
"""A band that is left out."""


class FixedRange(Section):
    """The values that become black and white, the same for every picture."""

    fixed: tuple[float, float] = Field(
        description="values that become black and white, e.g. [27000, 31000] for a thermal sensor"
    )


def _ranges(value: Any) -> Any:
    """A mapping of modalities to checked rules; ValueError says what is wrong with it."""
    if not isinstance(value, dict):
        raise ValueError("give a rule for each modality that needs another, e.g. range: {tir: min_max}")
    found: dict[Modality, Any] = {}
    for name, rule in value.items():
        try:
            modality = parse_modality(str(name))
        except AnyReIDError as error:
            raise ValueError(str(error)) from None
        if not modality.is_visual:
            raise ValueError(f"{modality.value} is no picture; pictures: {subset_name(VISUAL)}")
        if modality in found:
            raise ValueError(f"{modality.value} is given twice")
        found[modality] = _range_rule(modality, rule)
    return found


def _range_rule(modality: Modality, rule: Any) -> Any:
    if isinstance(rule, FixedRange) or rule in ("percentile", "min_max"):
        return rule
    limits: Any = rule.get("fixed") if isinstance(rule, dict) and set(rule) == {"fixed"} else None
    if not isinstance(limits, list | tuple) or not all(map(_is_number, limits)):
        raise ValueError(f"{modality.value}: {rule!r} is none of percentile, min_max, {{fixed: [low, high]}}")
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ValueError(f"{modality.value}: fixed takes two numbers, the lower one first, not {limits}")
    return FixedRange(fixed=(limits[0], limits[1]))


def check_pairing(text: str) -> None:
    """Raise ValueError for a name in a pairing that is no modality: "sketch", "nir+sketch@sketch->rgb|nir".

    >>> check_pairing("nir+sketch@sketch->rgb|nir")
    """
    query, _, kinds = text.partition("->")
    for asked in query.split("|"):  # a mixed query is refused where pairings are read
        as_validator(parse_query)(asked)
    for kind in kinds.split("|") if kinds else ():
        as_validator(parse_subset)(kind)


def _infrared(modality: Modality) -> Modality:
    if modality not in INFRARED:
        raise ValueError(f"{modality.value} is not infrared; give {' or '.join(INFRARED)}")
    return modality


def _fourth_band(name: str) -> str:
    choices = [DROP, *FOURTH_BANDS]
    if name not in choices:
        raise ValueError(f"Input should be {' or '.join(repr(str(c)) for c in choices)}")
    return name


def _gpus(value: Any) -> Any:
    if value != "auto" and not (_is_number(value) and value >= 0):
        raise ValueError(f"a number of at least 0, or auto, not {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


ModelSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.models", "model"))]
ReaderSection = Annotated[SerializeAsAny[Plugin], BeforeValidator(plugin("reid.data.readers", "data.reader"))]
ProtocolSection = Annotated[str | SerializeAsAny[Section], BeforeValidator(compose)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Device = Literal["auto", "cpu", "cuda"]
Gpus = Annotated[float | Literal["auto"], BeforeValidator(_gpus)]
"""GPUs of each process, whole or a part; auto is decided by what the machine or the cluster has."""
Modalities = Annotated[tuple[Modality, ...], BeforeValidator(as_validator(_modalities))]
FourthBand = Annotated[str, AfterValidator(_fourth_band)]
Infrared = Annotated[Modality, AfterValidator(_infrared)]
RangeRule = Literal["percentile", "min_max"] | FixedRange
RangeByModality = Annotated[dict[Modality, RangeRule], BeforeValidator(_ranges)]
ResizeFilter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
