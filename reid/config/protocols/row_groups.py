"""Averages over named groups of a report's rows, as pure data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from reid.config.typed import Section


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


class RowGroupConfig(Section):
    """Rows whose plain mean a report states: named ones, those whose queries have so many modalities, or all.

    >>> RowGroupConfig(sizes=2).sizes
    (2,)
    """

    rows: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] | None = Field(
        None,
        min_length=1,
        description="names of the rows, e.g. [sketch->rgb, text->rgb]; one without an anchor stands for its "
        "rows with each anchor, one without a gallery for any",
    )
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_one_or_many)] | None = Field(
        None, min_length=1, description="numbers of modalities that a query of the group may have"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """`all` is every row, a list is one of names."""
        if value == "all":
            return {}
        return {"rows": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _one_way(self) -> RowGroupConfig:
        if self.rows is not None and self.sizes is not None:
            raise ValueError("give rows or sizes, not both")
        return self
