"""Registered names as values: `Modality.NIR` is `Modality("nir")`, a plain string to JSON and Arrow.

One object a name, so that `is` compares them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from reid.errors import UsageError
from reid.modality.entry import ModalityEntry
from reid.modality.registry import entries

Name = TypeVar("Name")


class NameTable(type):
    """The type of a kind of names, which is the list of them, in canonical order."""

    known: dict[str, Any]

    def __iter__(cls: type[Name]) -> Iterator[Name]:
        return iter(cls.known.values())  # type: ignore[attr-defined]

    def __len__(cls) -> int:
        return len(cls.known)


class RegisteredName(str, metaclass=NameTable):
    """A string that is one of a fixed list; constructing it looks it up. Raises ValueError for another."""

    known: ClassVar[dict[str, Any]] = {}
    what: ClassVar[str] = "name"
    value: str
    """As a plain string."""

    def __new__(cls, name: str) -> Self:
        found: Self | None = cls.known.get(name)
        if found is None:
            raise ValueError(f"{name!r} is not a valid {cls.__name__}; known: {', '.join(cls.known)}")
        return found

    @classmethod
    def add(cls, name: str) -> Self:
        """A new name, which also becomes an attribute of the class, in capitals."""
        new = str.__new__(cls, name)
        new.value = name
        cls.known[name] = new
        setattr(cls, name.upper(), new)
        return new

    @classmethod
    def parse(cls, name: str) -> Self:
        """The value of a name; case and surrounding space do not matter.

        Raises UsageError for an unknown one; the message lists the known ones and the nearest.
        """
        try:
            return cls(name.strip().lower())
        except ValueError:
            near = difflib.get_close_matches(name.lower(), cls.known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(cls.known)
            raise UsageError(f"Unknown {cls.what} {name!r}.{hint} Known: {known}.") from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.upper()}: {self.value!r}>"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.value,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda name: name.value, when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": list(cls.known)}

    @classmethod
    def _validated(cls, name: Any) -> Self:
        if not isinstance(name, str):
            raise ValueError(f"a {cls.what} is a name; known: {', '.join(cls.known)}")
        try:
            return cls.parse(name)
        except UsageError as error:
            raise ValueError(str(error)) from None


class Modality(RegisteredName):
    """One way of observing an object. The order of iteration is the canonical order everywhere.

    >>> Modality("nir").is_visual, Modality.TEXT.is_visual
    (True, False)
    """

    known: ClassVar[dict[str, Modality]] = {}
    what: ClassVar[str] = "modality"
    entry: ModalityEntry

    RGB: ClassVar[Modality]
    NIR: ClassVar[Modality]
    TIR: ClassVar[Modality]
    SKETCH: ClassVar[Modality]
    TEXT: ClassVar[Modality]

    @property
    def is_visual(self) -> bool:
        """True for modalities stored as an image."""
        return self.entry.is_visual


class Target(RegisteredName):
    """What a generator can make for a capture: one of the modalities, or the mask of the object.

    >>> Target.NIR.modality is Modality.NIR, Target.MASK.modality
    (True, None)
    """

    known: ClassVar[dict[str, Target]] = {}
    what: ClassVar[str] = "target"

    RGB: ClassVar[Target]
    NIR: ClassVar[Target]
    TIR: ClassVar[Target]
    SKETCH: ClassVar[Target]
    TEXT: ClassVar[Target]
    MASK: ClassVar[Target]

    @property
    def modality(self) -> Modality | None:
        """The modality of this name; None for the mask."""
        return Modality.known.get(self.value)


for _entry in entries():
    Modality.add(_entry.name).entry = _entry
    Target.add(_entry.name)
Target.add("mask")
