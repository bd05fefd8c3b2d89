"""Collectives of a step: counted in one process as they are between processes, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.studies.benchmarks.collectives import GATHERED, GRADIENTS, SUMMED, Network, Traffic, head_rows
from tests.support.models import split_ranks as ranks

FAST = Network(bytes_per_s=1e9, latency_s=0.001, step_s=1.0)


def test_rings_send_gradients_twice_and_gathered_rows_to_everyone() -> None:
    assert FAST.seconds(GRADIENTS, Traffic(1, 10**9), 4) == pytest.approx(1.5 + 0.002)
    assert FAST.seconds(GATHERED, Traffic(2, 10**8), 4) == pytest.approx(0.3 + 0.004)


def test_only_gradients_hide_behind_the_backward_pass() -> None:
    found = {GRADIENTS: Traffic(0, 10**9), SUMMED: Traffic(0, 10**8)}
    assert FAST.efficiency(found, 2, overlapped=False) == pytest.approx(1 / (1 + 1.0 + 0.1))
    assert FAST.efficiency(found, 2, overlapped=True) == pytest.approx(1 / (1 + 1.0 - 2 / 3 + 0.1))


def test_a_split_classifier_has_its_share_of_the_logits() -> None:
    (row,) = head_rows()
    assert row.reference == pytest.approx(81.92)  # GB: 5 million classes, 64 ranks of 64 rows, float32
    assert row.value == pytest.approx(1.28)
    assert row.ratio == pytest.approx(64)


@pytest.mark.slow
def test_a_process_alone_counts_what_two_ranks_send(tmp_path: Path) -> None:
    for rank in ranks.run_ranks(ranks.counted, tmp_path):
        for name in ranks.SYSTEMS:
            assert rank[name] == ranks.traffic_of(name, world=2)
            assert rank[name][GRADIENTS][1] > 2**20


@pytest.mark.slow
def test_gradients_are_as_many_at_any_number_of_ranks() -> None:
    few, many = ranks.traffic_of("baseline", world=2), ranks.traffic_of("baseline", world=64)
    assert many[GRADIENTS] == few[GRADIENTS]
    assert many[GATHERED] == few[GATHERED]  # what a rank gives
    assert many[SUMMED][0] == few[SUMMED][0]
