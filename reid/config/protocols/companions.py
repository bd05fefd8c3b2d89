"""Queries whose parts come from several samples of one identity: which part leads, what accompanies it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from reid.config.protocols.query_names import ALL, MOST
from reid.config.typed import Section, as_validator
from reid.errors import UsageError
from reid.modality import Modality, parse_modality

EACH: Literal["each"] = "each"
Within = Literal["identity", "camera"]
Captures = Literal["any", "others"]


def _anchor(value: Any) -> Any:
    return value if value == EACH else parse_modality(value)


def _samples(value: Any) -> Any:
    if not isinstance(value, dict):
        raise UsageError("give a number for each modality of which a query has several, e.g. {sketch: 2}")
    found: dict[Modality, int | str] = {}
    for name, number in value.items():
        modality = parse_modality(str(name))
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number != "all" and not (whole and 1 <= number <= MOST):
            raise UsageError(f"{modality.value}: {number!r} is no number from 1 to {MOST}, and not all")
        if modality in found:
            raise UsageError(f"{modality.value} is given twice")
        found[modality] = number
    return found


class CompanionsConfig(Section):
    """Queries that hang on one part, the anchor: each item of that modality is asked once. The other parts
    come from samples of the same identity on the query side, one draw for each anchor item and modality, so
    that every subset with both has the same ones.

    Camera, view and location of a query are the anchor's; rules on cameras and locations see those of all
    parts.
    """

    anchor: Annotated[Modality | Literal["each"], BeforeValidator(as_validator(_anchor))] = Field(
        EACH,
        description="modality whose items are the queries; each: every modality of a subset in turn, a "
        "row for each; a subset such as nir+sketch@sketch names its own",
    )
    samples: Annotated[dict[Modality, int | Literal["all"]], BeforeValidator(as_validator(_samples))] = Field(
        {},
        description="how many samples a query has of a modality, e.g. {sketch: 2}, or all of the "
        "identity's; a modality that is not named has one",
    )
    within: Within = Field(
        "identity",
        description="samples that go together: any of the identity, or only those of one camera",
    )
    captures: Captures = Field(
        "any",
        description="whether the anchor's own sample may give its companions where it has them (any), or "
        "only the identity's others",
    )
    seed: int = Field(0, ge=0, description="random seed of the draw of companions")
    file: str | None = Field(
        None,
        description="list of companions that is read instead of drawn: companions.json of a report, or one "
        "of the data set",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="hash that the list of companions must have, drawn or read, as a report states it",
    )

    @property
    def numbers(self) -> dict[Modality, int]:
        """How many samples a query has of each modality that is named; ALL for all."""
        return {m: number if isinstance(number, int) else ALL for m, number in self.samples.items()}

    @model_validator(mode="after")
    def _drawn_or_read(self) -> CompanionsConfig:
        if self.file is not None and self.model_fields_set & {"seed", "within", "captures"} - _defaults(self):
            raise ValueError("a list in file is not drawn: leave out seed, within and captures")
        return self


def _defaults(section: CompanionsConfig) -> set[str]:
    """The fields that have their default."""
    return {n for n, f in type(section).model_fields.items() if getattr(section, n) == f.default}
