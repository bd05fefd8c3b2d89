"""The machine: PyTorch's devices and bf16, cores, memory, disk and shared memory."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from reid.config import RayConfig
from reid.doctor.finding import Check

GIB = 2**30
LEAST_MEMORY = 4 * GIB
LEAST_DISK = 5 * GIB
RAY_FULL = 0.95
"""Share of a disk at which Ray stops to create objects on it (its local_fs_capacity_threshold)."""
_SIDE, _TURNS = 512, 7


def torch_checks() -> Iterator[Check]:
    """PyTorch, its devices, and whether bf16 is worth it; nothing when torch does not load."""
    try:
        import torch
    except Exception:
        return
    built = torch.version.cuda or torch.version.hip
    threads = torch.get_num_threads()
    yield Check("torch", "ok", f"PyTorch {torch.__version__}, built for {built or 'CPU'}, {threads} threads")
    if not torch.cuda.is_available():
        if built and Path("/dev/nvidiactl").exists():
            yield Check(
                "gpu", "warn", "there is a GPU, but PyTorch cannot use it", "update the driver: nvidia-smi"
            )
        else:
            yield Check("gpu", "ok", "none; everything runs on the CPU")
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)
    yield _bf16()


def _gpu(index: int) -> Check:
    import torch

    kind = torch.cuda.get_device_properties(index)
    fact = f"{kind.name}, {kind.total_memory / GIB:.0f} GiB, compute {kind.major}.{kind.minor}"
    try:
        ones = torch.ones(64, 64, device=f"cuda:{index}")
        right = (ones @ ones)[0, 0].item() == 64
        half = torch.cuda.is_bf16_supported(including_emulation=False)
    except Exception as error:
        why = str(error).strip().partition("\n")[0]
        return Check(
            f"gpu {index}", "fail", f"{fact}: {why}", "install a PyTorch build for this GPU and driver"
        )
    if not right:
        return Check(f"gpu {index}", "fail", f"{fact}: wrong products", "the device is damaged or overheated")
    if not half:
        return Check(f"gpu {index}", "warn", f"{fact}: no bf16", "keep train.compute.precision=fp32")
    return Check(f"gpu {index}", "ok", f"{fact}, bf16 (train.compute.precision=bf16)")


def _bf16() -> Check:
    """On the CPU: does bf16 work, and is it faster than fp32?"""
    import torch

    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(_SIDE, _SIDE, dtype=dtype)
        try:
            times[dtype] = min(_seconds(partial(torch.matmul, a, a)) for _ in range(_TURNS))
        except RuntimeError as error:
            return Check(
                "bf16 on cpu", "warn", f"does not work ({error})", "keep train.compute.precision=fp32"
            )
    ratio = times[torch.bfloat16] / max(times[torch.float32], 1e-9)
    kind = torch.backends.cpu.get_cpu_capability()
    if ratio > 1:
        return Check(
            "bf16 on cpu", "ok", f"works, {ratio:.1f} times slower than fp32 ({kind}): fp32 suits the CPU"
        )
    return Check("bf16 on cpu", "ok", f"works, {1 / max(ratio, 1e-9):.1f} times faster than fp32 ({kind})")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_check() -> Check:
    """Cores that this process may use, and threads that may crowd them."""
    here = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else here
    threads = os.environ.get("OMP_NUM_THREADS")
    fact = f"{usable} of {here} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    if threads and threads.isdigit() and int(threads) > usable:
        return Check(
            "cpu", "warn", fact, "more threads than cores slow each other down: unset OMP_NUM_THREADS"
        )
    return Check("cpu", "ok", fact)


def memory_check(meminfo: str = "/proc/meminfo", cgroup: str = "/sys/fs/cgroup") -> Check:
    """Free memory, within the limit of a container."""
    numbers = _meminfo(meminfo)
    if "MemTotal" not in numbers:
        return Check("memory", "ok", "not known on this system")
    total, free = numbers["MemTotal"], numbers.get("MemAvailable", numbers["MemTotal"])
    limit, used = (_number(f"{cgroup}/memory.{name}") for name in ("max", "current"))
    where = ""
    if limit is not None and limit < total:
        total, free = limit, min(free, max(limit - (used or 0), 0))
        where = " (this container's limit)"
    fact = f"{free / GIB:.1f} GiB free of {total / GIB:.1f} GiB{where}"
    if free < LEAST_MEMORY:
        remedy = "end other programs; or lower data.cache_mib, ray.object_store_mib and ray.num_cpus"
        return Check("memory", "warn", fact, remedy)
    return Check("memory", "ok", fact)


def disk_check(name: str, folder: str) -> Check:
    """Free space of the disk that holds a folder (or its nearest parent that exists)."""
    place = Path(folder).expanduser().resolve()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    fact = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} GiB at {place}"
    if usage.total and usage.used / usage.total > RAY_FULL:
        return Check(
            name, "warn", fact, f"over {RAY_FULL:.0%} full: Ray stops to write there; free some space"
        )
    if usage.free < LEAST_DISK:
        return Check(name, "warn", fact, "free some space, or choose another --workdir (config: workdir)")
    return Check(name, "ok", fact)


def shared_memory_check(folder: str = "/dev/shm", needed: int | None = None) -> Check:
    """Room for Ray's object store, by default the configuration's; too little makes Ray use a slow disk."""
    needed = RayConfig().object_store_mib * 2**20 if needed is None else needed
    if not Path(folder).is_dir():
        return Check("shared memory", "ok", f"no {folder} here: Ray uses files")
    free = shutil.disk_usage(folder).free
    fact = f"{free / 2**20:,.0f} MiB free at {folder}, Ray's object store takes {needed / 2**20:,.0f} MiB"
    if free < needed:
        remedy = "give more (docker run --shm-size=2g; a Memory emptyDir), or lower ray.object_store_mib"
        return Check("shared memory", "warn", fact, remedy)
    return Check("shared memory", "ok", fact)


def _meminfo(file: str) -> dict[str, int]:
    """Bytes by name; empty where there is no such file."""
    try:
        lines = Path(file).read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs if value.split()[:1]}


def _number(file: str) -> int | None:
    """A file's number; None for "max" and where there is no such file."""
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
