"""The evaluator's benchmark compares equals, and large evaluations stay within their memory."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

import reid.studies.benchmarks.evaluate as benchmark
from reid.studies.benchmarks.evaluate import Case, evaluate_rows


def test_the_textbook_and_ours_find_the_same_numbers() -> None:
    case = Case(40, 90, 7, cameras=3)
    assert case.ours() == pytest.approx(case.textbook(), abs=1e-12)
    assert 0 < case.ours()[0] < 1


def test_rows_tell_the_speed_then_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "Case", lambda *_: Case(30, 200, 5))
    speed, equal = itertools.islice(evaluate_rows(1), 2)
    assert speed.target == 6 and speed.unit == "ms" and speed.ratio is not None
    assert equal.ok and equal.value < 1e-6


@pytest.mark.slow
def test_ten_thousand_queries_of_a_hundred_thousand_items_fit_into_two_gib() -> None:
    code = (
        "import resource, torch; torch.set_num_threads(2); import reid.studies.benchmarks.evaluate as b;"
        "assert b._features().queries == 10_000;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2048
