"""The sharing benchmark compares equals, for every system."""

from __future__ import annotations

import pytest
import torch

from reid.config import load, plugin_names
from reid.studies.benchmarks.sharing import PRESETS, VARIANTS, shared_rows, step_rows

CPU = torch.device("cpu")


def test_every_system_is_measured() -> None:
    assert set(PRESETS) == set(plugin_names("reid.models"))


@pytest.mark.parametrize(
    "system", [pytest.param(s, marks=() if s == "baseline" else pytest.mark.slow) for s in PRESETS]
)
def test_shared_passes_give_what_a_pass_each_gives_and_steps_tell_their_memory(system: str) -> None:
    config = load(f"{system}/synthetic")
    timed, gap = shared_rows(config, 4, 1, CPU)
    assert timed.ratio is not None and timed.ratio > 0
    assert gap.value < 1e-5
    names = [row.name for row in step_rows(config, 4, 1, CPU)]
    assert len(names) == 2 + 2 * len(VARIANTS.get(system, {}))
