"""The GPU benchmark: what it compares is the same step, and a check that cannot run says why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from reid.modality import Modality
from reid.studies.benchmarks.gpu.checks import CannotRun, GpuCheck, run_checks
from reid.studies.benchmarks.gpu.generators import generator_rows
from reid.studies.benchmarks.gpu.retrieval import evaluator_rows
from reid.studies.benchmarks.gpu.steps import agreement_rows, peak_flops, speed_rows
from reid.studies.benchmarks.gpu.systems import PRESETS, SMALL, SystemCase, pictures, still
from reid.studies.benchmarks.gpu.transfers import transfer_rows
from reid.studies.benchmarks.timing import BenchmarkRow

CPU = torch.device("cpu")


def one(name: str, value: float) -> Iterator[BenchmarkRow]:
    yield BenchmarkRow(name, value, "s")


def broken() -> Iterator[BenchmarkRow]:
    raise RuntimeError("no kernel image\n is available")


def impossible() -> Iterator[BenchmarkRow]:
    raise CannotRun("no compiler here")


def test_a_check_that_fails_or_cannot_run_is_a_row_with_the_reason_and_the_others_run() -> None:
    checks = [GpuCheck("a", broken), GpuCheck("b", impossible), GpuCheck("c", lambda: one("c", 1.0))]
    rows = list(run_checks(checks, 60))
    assert [row.failed for row in rows] == ["RuntimeError: no kernel image is available", None, None]
    assert [row.skipped for row in rows] == [None, "no compiler here", None]
    assert [row.ok for row in rows] == [False, None, None]
    assert "FAILED" in rows[0].line() and "skipped" in rows[1].line()
    assert rows[1].to_json()["skipped"] == "no compiler here"


def test_no_check_starts_after_the_time_limit_and_each_says_so() -> None:
    now = iter([0.0, 0.0, 100.0, 100.0])
    checks = [GpuCheck(name, lambda: one("x", 1.0)) for name in ("first", "second")]
    rows = list(run_checks(checks, 60, clock=lambda: next(now)))
    assert rows[0].value == 1.0
    assert rows[1].skipped == "the time limit of 60 s is reached"


@pytest.mark.parametrize("system", ["baseline", "mixer"])
def test_the_same_step_on_the_same_device_agrees_exactly_in_float32(system: str) -> None:
    rows = {row.name: row for row in agreement_rows(SystemCase.of(system, SMALL), 4, CPU)}
    assert rows[f"{system} fp32 loss, difference to CPU"].value == 0
    assert rows[f"{system} fp32 gradient, difference to CPU"].value == 0
    rounding = rows[f"{system} bf16 gradient, difference to CPU"]
    assert rounding.value is not None and rounding.value > 0, "bfloat16 rounds"
    assert (rounding.target is None) == (system == "mixer")


@pytest.mark.parametrize("system", [s for s in PRESETS if s not in ("baseline", "mixer")])
@pytest.mark.slow
def test_nothing_in_a_step_of_any_system_is_random(system: str) -> None:
    rows = {row.name: row for row in agreement_rows(SystemCase.of(system, SMALL), 4, CPU)}
    assert rows[f"{system} fp32 gradient, difference to CPU"].value == 0


def test_every_system_is_measured_at_the_size_of_its_paper() -> None:
    cases = {name: SystemCase.of(name).config for name in PRESETS}
    assert all((c.data.height, c.data.width) in {(256, 128), (288, 144), (384, 128)} for c in cases.values())
    assert all(getattr(c.model, "weights", "random") == "random" for c in cases.values())


def test_still_sections_draw_nothing() -> None:
    section = {"dropout": 0.1, "ffm": {"router": {"noise": 1.0, "top_k": 2}}, "flip": True}
    assert still(section) == {"dropout": 0.0, "ffm": {"router": {"noise": 0.0, "top_k": 2}}, "flip": True}


def test_a_cross_spectral_batch_has_one_picture_a_row_and_both_spectra_of_an_identity() -> None:
    case = SystemCase.of("mixer", SMALL)
    batch = case.batch(case.model(), 8)
    assert pictures(batch) == 8 and batch.present.sum(1).tolist() == [1] * 8
    pids = {m: set(batch.pid[batch.index[m]].tolist()) for m in (Modality.RGB, Modality.NIR)}
    assert pids[Modality.RGB] == pids[Modality.NIR] == {0, 1, 2, 3}


@pytest.mark.slow
def test_speed_is_told_in_pictures_and_utilisation_is_skipped_where_no_peak_is_known() -> None:
    rows = {row.name: row for row in speed_rows(SystemCase.of("baseline", SMALL), 4, 1, CPU)}
    assert (rows["baseline train bf16 eager: pictures a second"].value or 0) > 0
    if not torch.cuda.is_available():
        assert rows["baseline train bf16 eager: model-FLOP utilisation"].skipped


def test_only_the_peak_of_the_device_that_is_measured_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H100 PCIe")
    assert peak_flops(CPU) is None
    assert peak_flops(torch.device("cuda")) == 756e12


def test_transfers_say_that_they_are_about_a_gpu() -> None:
    case = SystemCase.of("baseline", SMALL)
    with pytest.raises(CannotRun, match="GPU only"):
        list(transfer_rows(case.batch(case.model(), 2), 1, CPU))


@pytest.mark.slow
def test_generators_with_random_weights_are_compared_with_the_cpu() -> None:
    rows = {row.name: row for row in generator_rows(2, 1, CPU, sam=False)}
    assert rows["sketch_teed: difference to CPU"].value == 0
    assert rows["ir_unet: difference to CPU"].value == 0


def test_the_evaluator_on_the_same_device_has_the_same_numbers() -> None:
    rows = {row.name: row for row in evaluator_rows(400, 2000, 1, CPU)}
    assert rows["evaluator 400 x 2000: difference to CPU"].value == 0
