"""The evaluator's benchmark compares equals, and large evaluations stay within their memory."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

import reid.studies.benchmarks.evaluate as benchmark
from reid.studies.benchmarks.compiled import build
from reid.studies.benchmarks.evaluate import Case, evaluate_rows


def test_the_textbook_and_ours_find_the_same_numbers() -> None:
    case = Case(40, 90, 7, cameras=3)
    assert case.ours() == pytest.approx(case.textbook(), abs=1e-12)
    assert 0 < case.ours()[0] < 1


def test_the_compiled_one_finds_the_same_numbers() -> None:
    case, built = Case(40, 90, 7, cameras=3), build()
    if isinstance(built, str):
        pytest.skip(built)
    assert case.compiled(built) == pytest.approx(case.textbook(), abs=1e-12)


def test_rows_tell_one_thread_then_all_and_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "Case", lambda *_: Case(30, 200, 5))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if isinstance(built := build(), str):
        pytest.skip(built)
    one, every, compiled, textbook = itertools.islice(evaluate_rows(1), 4)
    assert one.target is None and one.name.endswith("1 thread") and one.unit == "ms"
    assert every.target == 3 and every.name.endswith("2 threads") and every.ratio is not None
    assert compiled.ok and textbook.ok


def test_without_a_compiler_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "Case", lambda *_: Case(30, 200, 5))
    monkeypatch.setenv("PATH", "")
    skipped, textbook = itertools.islice(evaluate_rows(1), 2)
    assert skipped.skipped == "no C compiler (cc, gcc, clang or $CC)"
    assert textbook.ok


@pytest.mark.slow
def test_ten_thousand_queries_of_a_hundred_thousand_items_fit_into_two_gib() -> None:
    code = (
        "import resource, torch; torch.set_num_threads(2); import reid.studies.benchmarks.evaluate as b;"
        "assert b._features().queries == 10_000;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2048
