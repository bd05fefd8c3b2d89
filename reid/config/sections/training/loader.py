"""How batches are made ahead of the training step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reid.config.typed import Section


class LoaderConfig(Section):
    """Decoding and augmentation beside the training step. Batches are the same whatever is set here."""

    kind: Literal["processes", "threads", "none"] = Field(
        "processes",
        description="what decodes and augments: processes, each with an interpreter of its own; threads of "
        "the training process; or none: the training step itself",
    )
    count: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="number of processes or threads of each worker; auto: one fewer than its CPUs (without "
        "Ray: this machine's), at least 1 and at most 16",
    )
    prefetch: int = Field(
        2, ge=1, description="batches that each process or thread may be ahead of the training step"
    )
    pin: bool = Field(
        True, description="copy batches for a GPU from page-locked memory, beside the computation"
    )
