"""How the training step is computed: its arithmetic, and what it trades between time and memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.results import SAME_RESULT
from reid.config.typed import Section


class ComputeConfig(Section):
    """Arithmetic, compilation and memory of the training step."""

    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of the forward pass: float32, or bfloat16 by autocast"
    )
    validation: Literal["same", "fp32"] = Field(
        "fp32", description="arithmetic of the vectors in validation: float32, or that of training (same)"
    )
    tf32: bool | None = Field(
        None,
        description="TF32 for float32 matrix products and convolutions on NVIDIA GPUs; null: as torch sets "
        "it (convolutions only)",
    )
    compile: Literal["none", "blocks"] = Field(
        "none",
        description="torch.compile for each plain transformer block; where it fails blocks run as they are",
        json_schema_extra=SAME_RESULT,
    )
    checkpoint_activations: bool = Field(
        False,
        description="keep the inputs of blocks only and compute blocks again in the backward pass: less "
        "memory, a third more time",
        json_schema_extra=SAME_RESULT,
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="parts in which the encoder takes a batch, one at a time, each computed again in the "
        "backward pass; losses and statistics stay those of the whole batch. Systems whose encoder mixes "
        "rows refuse it",
        json_schema_extra=SAME_RESULT,
    )
