"""Which device a process computes on: a GPU only where Ray granted one.

Ray hides no GPU from a task or actor that was given none, unless RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO is set,
which is not certain on a cluster of others. What torch sees there may be somebody else's.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import torch

from pipelines.progress import Say, say
from reid.config import Config
from reid.errors import ConfigError, UsageError

CPU = torch.device("cpu")
_CUDA = torch.device("cuda")


def device_here(gpus: float, field: str) -> torch.device:
    """The device of a process that was configured to have so many GPUs by `field`: 0 is the CPU.

    Raises UsageError when Ray granted none to this worker, or torch sees none.
    """
    if gpus == 0:
        return CPU
    _insist(f"{field}={gpus:g}", f"{field}=0")
    return _CUDA


def own_device(verb: str, asked: str, out: Say = say) -> torch.device:
    """The device of a verb that computes in its own process; `asked` is `device`: auto, cpu or cuda.

    A GPU that was found and not asked for is told. Raises UsageError for cuda where there is none.
    """
    if asked == "cuda":
        _insist("device=cuda", "device=cpu")
        return _CUDA
    if asked == "cpu" or not (_granted() and torch.cuda.is_available()):
        return CPU
    out(f"{verb}: computes on this machine's GPU (device=auto; device=cpu leaves it alone)")
    return _CUDA


def device_in_process(
    verb: str, asked: str, gpus: float | Literal["auto"], field: str, out: Say = say
) -> torch.device:
    """For work that is done here and could be done in actors: their number of GPUs counts where it is set.

    Raises ConfigError where that number contradicts `asked`, and UsageError as `device_here` does.
    """
    refuse_contradiction(asked, gpus, field)
    return own_device(verb, asked, out) if gpus == "auto" else device_here(gpus, field)


def device_beside_actors(verb: str, config: Config, out: Say = say) -> torch.device:
    """For the model of a process that evaluates or indexes: where actors embed, GPUs are left to them.

    Raises ConfigError and UsageError as `device_in_process` does.
    """
    settings = config.evaluate
    if settings.actors:
        return CPU
    return device_in_process(verb, config.device, settings.gpus_per_actor, "evaluate.gpus_per_actor", out)


def refuse_contradiction(device: str, gpus: float | Literal["auto"], field: str) -> None:
    """Raise ConfigError where `device` says cpu and `field` asks for GPUs, or cuda and it asks for none.

    Only the verb that uses the field asks: a run that was trained on GPUs can be evaluated with device=cpu.

    >>> refuse_contradiction("cpu", "auto", "train.gpus_per_worker")
    >>> refuse_contradiction("cuda", 0.5, "train.gpus_per_worker")
    """
    if gpus == "auto":
        return
    if device == "cpu" and gpus > 0:
        remedy = f"Set {field} to auto or 0, or device to auto."
    elif device == "cuda" and gpus == 0:
        remedy = f"Set {field} to auto or above 0, or device to auto."
    else:
        return
    raise ConfigError(f"device={device}, but {field}={gpus:g}. {remedy}")


def _insist(asked: str, remedy: str) -> None:
    granted = _granted()
    if granted and torch.cuda.is_available():
        return
    why = "torch sees none here" if granted else "Ray granted none to this worker"
    raise UsageError(
        f"{asked}: {why}. Set {remedy} to compute on the CPU; `python -m jobs.doctor env` "
        "on that machine tells what it has."
    )


def _granted() -> bool:
    """Whether GPUs that this process sees are its own: outside Ray's workers they are."""
    ray: Any = sys.modules.get("ray")  # a worker has imported it; a verb in one process need not
    if ray is None or not ray.is_initialized():
        return True
    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        return True
    return bool(ray.get_gpu_ids())  # numbers or strings: only their presence says something
