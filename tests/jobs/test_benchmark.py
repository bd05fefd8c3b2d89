"""The benchmark verb: a device is chosen for the groups that compute on one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import get_type_hints

import pytest
import torch
import typer

import reid.studies.benchmarks.gpu.rows as gpu_benchmark
import reid.studies.benchmarks.stream as stream_benchmark
from jobs.benchmark import benchmark
from reid.errors import UsageError
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.studies.benchmarks.training.rows import PARTS


def test_a_group_that_computes_on_no_device_takes_and_tells_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(stream_benchmark, "stream_rows", lambda repeats: [BenchmarkRow("stream", 1.0, "s")])
    benchmark("stream")
    said = capsys.readouterr()
    assert "stream" in said.out and "GPU" not in said.out + said.err


def test_a_device_for_such_a_group_is_refused() -> None:
    with pytest.raises(UsageError, match="--device: stream computes on none; it is for model, sharing"):
        benchmark("stream", device="cuda")


def test_without_a_gpu_every_check_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    benchmark("gpu", as_json=True)  # exit code 0
    rows = json.loads(capsys.readouterr().out)
    assert {"mixer against CPU", "mixer speed", "experts", "generators", "evaluator"} <= {
        r["name"] for r in rows
    }
    assert all("no GPU here" in row["skipped"] and row["value"] is None for row in rows)


def test_asking_for_a_gpu_that_is_not_there_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"torch sees none here.*--device cpu --small"):
        benchmark("gpu", device="cuda")


def test_a_check_that_fails_makes_the_exit_code_1_after_the_others_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(*_: object) -> Iterator[BenchmarkRow]:
        yield BenchmarkRow("experts", failed="RuntimeError: no kernel image")
        yield BenchmarkRow("evaluator", 1.0, "s")

    monkeypatch.setattr(gpu_benchmark, "gpu_rows", rows)
    with pytest.raises(typer.Exit) as ended:
        benchmark("gpu", device="cpu")
    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert "FAILED: RuntimeError" in said and "evaluator" in said


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [("train", "loaders", "Did you mean 'loader'"), ("moe", "loader", "only train has parts")],
)
def test_a_part_that_there_is_not_is_refused(group: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark(group, part=[name])


def test_help_names_every_part_and_what_it_measures() -> None:
    (option,) = get_type_hints(benchmark, include_extras=True)["part"].__metadata__
    assert all(f"{name}: {what}" in option.help for name, what in PARTS.items())
