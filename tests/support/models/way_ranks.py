"""What ranks run in tests of how encoders compute: again, or in parts, with statistics over all ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reid.nn.blockwise import BlockRun, run_blocks
from tests.support.models.ddp_ranks import batch_of, step

AGAIN = (
    "mfrnet",
    "signal",
    "mixer, a modality on one rank only",
    "stmi",
    "flexireid, a rank without pictures",
)
IN_PARTS = ("mean, ragged", "signal, heads and masks", "stmi, captions and masks on one rank only")


def ways(rank: int, folder: Path) -> dict[str, Any]:
    """Losses, gradients and statistics of a step in both ways, as one of two ranks."""
    found: dict[str, Any] = {}
    for case in AGAIN:
        with run_blocks(BlockRun(recompute=True)):
            found[f"{case}, again"] = step(case, batch_of(case, rank))
    for case in IN_PARTS:
        with run_blocks(BlockRun(parts=2)):
            found[f"{case}, in parts"] = step(case, batch_of(case, rank))
    return found
