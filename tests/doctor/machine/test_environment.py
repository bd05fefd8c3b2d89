"""The examination of a machine: each check is ok, warns or fails as it should, with a remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reid.doctor.finding import Check
from reid.doctor.machine import hardware, places
from reid.doctor.machine.environment import checks
from reid.doctor.machine.hardware import (
    GIB,
    cpu_check,
    disk_check,
    memory_check,
    shared_memory_check,
    torch_checks,
)
from reid.doctor.machine.packages import import_checks, package_checks, requirements
from reid.doctor.machine.places import asked_weights, folder_weights, storage_check, weights_checks
from reid.errors import StorageError
from tests.support.replace_storage import replace_storage

KIB = 1024


def told(check: Check, status: str, *words: str) -> None:
    assert check.status == status, check
    for word in words:
        assert word in f"{check.text} {check.remedy}"
    assert (check.remedy is None) == (status == "ok")


# Python and packages


def versions(known: dict[str, str]) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version


def test_packages_within_their_ranges_are_one_line() -> None:
    found = list(
        package_checks(
            ">=3.11", ["ray[data]>=2.60,<2.61", "numpy>=2.0"], versions({"ray": "2.60.1", "numpy": "2.4"})
        )
    )
    assert [(c.name, c.status) for c in found] == [("python", "ok"), ("packages", "ok")]
    assert "2 packages" in found[1].text


def test_a_package_that_is_missing_or_out_of_range_is_named_with_its_range() -> None:
    wanted = ["ray[data]>=2.60,<2.61", "numpy>=2.0", "torch>=2.8", 'tomli>=1; python_version < "3.0"']
    known = {"ray": "2.59.0", "torch": "2.9.0+cu128"}
    _, ray, numpy = package_checks(">=3.11", wanted, versions(known))
    told(ray, "fail", "2.59.0", ">=2.60", "requirements.lock")
    told(numpy, "fail", "missing", "numpy>=2.0")


def test_another_python_fails() -> None:
    first, _ = package_checks(">=4.0", ["numpy"], versions({"numpy": "2.0"}))
    told(first, "fail", ">=4.0", ".venv")


def test_the_project_s_own_requirements_are_read_and_met() -> None:
    python, wanted = requirements()
    assert python.startswith(">=3.") and any(one.startswith("ray[") for one in wanted)
    assert {c.status for c in package_checks(python, wanted)} == {"ok"}


def test_a_module_that_does_not_load_is_named() -> None:
    (bad,) = import_checks(["json", "no_such_module_here"])
    told(bad, "fail", "no_such_module_here", "ModuleNotFoundError")
    (good,) = import_checks(["json"])
    told(good, "ok", "json")


# Torch, cores, memory, disks


def test_a_machine_without_a_gpu_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", None)
    found = {c.name: c for c in torch_checks()}
    told(found["torch"], "ok", torch.__version__)
    told(found["gpu"], "ok", "CPU")
    told(found["bf16 on cpu"], "ok", "fp32")


@pytest.mark.parametrize(
    ("half", "fails", "status", "word"),
    [(True, False, "ok", "bf16"), (False, False, "warn", "fp32"), (True, True, "fail", "no kernel image")],
)
def test_each_gpu_is_tried(
    half: bool, fails: bool, status: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SimpleNamespace(name="Card X", total_memory=80 * GIB, major=9, minor=0)
    ones = torch.ones

    def on_cpu(*size: int, **options: Any) -> torch.Tensor:
        if fails and "device" in options:
            raise RuntimeError("CUDA error: no kernel image is available\nmore")
        return ones(*size)

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: half)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", on_cpu)
    found = {c.name: c for c in torch_checks()}
    told(found["gpu 0"], status, "Card X", "80 GiB", word)


def test_more_threads_than_cores_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    told(cpu_check(), "warn", "9999", "unset")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told(cpu_check(), "ok")


def meminfo(folder: Path, total_gib: float, free_gib: float) -> str:
    text = f"MemTotal: {int(total_gib * KIB**2)} kB\nMemAvailable: {int(free_gib * KIB**2)} kB\n"
    (folder / "meminfo").write_text(text)
    return str(folder / "meminfo")


def test_little_memory_warns(tmp_path: Path) -> None:
    told(memory_check(meminfo(tmp_path, 32, 16), str(tmp_path)), "ok", "16.0 GiB free of 32.0 GiB")
    told(memory_check(meminfo(tmp_path, 32, 2), str(tmp_path)), "warn", "2.0 GiB free", "data.cache_mib")


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{6 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{3 * GIB}\n")
    told(
        memory_check(meminfo(tmp_path, 32, 16), str(tmp_path)), "warn", "3.0 GiB free of 6.0 GiB", "container"
    )
    (tmp_path / "memory.max").write_text("max\n")
    told(memory_check(meminfo(tmp_path, 32, 16), str(tmp_path)), "ok", "32.0 GiB")


@pytest.mark.parametrize(
    ("total", "free", "status", "word"),
    [(100, 50, "ok", "50.0 GiB"), (20, 3, "warn", "--workdir"), (1000, 20, "warn", "Ray stops")],
)
def test_a_full_disk_warns(
    total: int, free: int, status: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=total * GIB, used=(total - free) * GIB, free=free * GIB)
    monkeypatch.setattr(hardware.shutil, "disk_usage", lambda place: usage)
    check = disk_check("disk", str(tmp_path / "not" / "yet"))
    told(check, status, word)
    assert str(tmp_path) in check.text


def test_shared_memory_below_the_object_store_warns(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    told(shared_memory_check(str(tmp_path), needed=free // 2), "ok")
    told(shared_memory_check(str(tmp_path), needed=free * 2), "warn", "--shm-size", "ray.object_store_mib")
    told(shared_memory_check(str(tmp_path / "none")), "ok", "files")


# Storage and weights


def test_a_folder_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    told(storage_check(str(tmp_path / "new" / "runs")), "ok", "written, read, listed and deleted")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    told(storage_check(str(tmp_path / "mine")), "ok")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    told(storage_check(str(tmp_path / "file" / "runs")), "fail", "--workdir")
    assert (tmp_path / "file").read_text() == "x"


def test_a_bucket_that_cannot_be_reached_fails_with_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(uri: str, data: bytes) -> None:
        raise StorageError(f"{uri}: cannot be accessed (timeout).")

    replace_storage(monkeypatch, "write_bytes", unreachable)
    told(storage_check("s3://bucket/runs"), "fail", "s3://bucket/runs", "AWS_ENDPOINT_URL")


def test_a_store_that_forgets_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_storage(monkeypatch, "list_files", lambda uri, suffix="": [])
    told(storage_check(str(tmp_path)), "fail", "not listed")


def test_weights_in_the_folder_are_found_by_architecture_and_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ViT-B-16/openai.safetensors", "ViT-B-16/openai.pt", "RN50/mine.bin", "RN50/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("ANYREID_WEIGHTS", str(tmp_path))
    assert folder_weights() == {
        ("ViT-B-16", "openai"): f"{tmp_path}/ViT-B-16/openai.safetensors",
        ("RN50", "mine"): f"{tmp_path}/RN50/mine.bin",
    }


def test_missing_weights_warn_with_the_presets_that_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "hub_weights", dict)
    monkeypatch.delenv("ANYREID_WEIGHTS", raising=False)
    asked = asked_weights()
    assert any("baseline/rgbnt201" in names for names in asked.values())
    missing = list(weights_checks())
    assert [c.status for c in missing] == ["warn"] * len(asked)
    told(missing[0], "warn", "presets need it", "ANYREID_WEIGHTS")
    for arch, tag in asked:
        (tmp_path / arch).mkdir(exist_ok=True)
        (tmp_path / arch / f"{tag}.safetensors").touch()
    monkeypatch.setenv("ANYREID_WEIGHTS", str(tmp_path))
    (found,) = weights_checks()
    told(found, "ok", *(f"{arch} {tag}" for arch, tag in asked))


def test_a_weights_folder_that_is_not_there_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "hub_weights", dict)
    monkeypatch.setenv("ANYREID_WEIGHTS", str(tmp_path / "none"))
    (check,) = weights_checks()
    told(check, "fail", "ANYREID_WEIGHTS", "no such folder")


def test_all_checks_run_and_none_fails_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "asked_weights", dict)
    monkeypatch.setattr(places, "hub_weights", dict)
    monkeypatch.delenv("ANYREID_WEIGHTS", raising=False)
    found = list(checks(str(tmp_path)))
    assert [c for c in found if c.status == "fail"] == []
    names = {c.name for c in found}
    assert {
        "python",
        "packages",
        "imports",
        "torch",
        "cpu",
        "memory",
        "disk",
        "shared memory",
        "storage",
    } <= names
