"""Which device a process computes on: a GPU only where Ray granted one.

Ray hides no GPU from a task or actor that was given none, unless RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO is set,
which is not certain on a cluster of others. What torch sees there may be somebody else's.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from reid.config import Config
from reid.errors import UsageError

CPU = torch.device("cpu")


def device_here(gpus: float | None = None, field: str = "") -> torch.device:
    """The device of this process.

    `gpus` is what a process was configured to have by `field`: 0 is the CPU, and more must be there. None: no
    field says it, as in a verb that works in its own process; that is CUDA where there is any.
    Raises UsageError when GPUs were asked for and Ray granted none to this worker, or torch sees none.
    """
    if gpus == 0:
        return CPU
    granted = _granted()
    if granted and torch.cuda.is_available():
        return torch.device("cuda")
    if gpus is None:
        return CPU
    why = "torch sees none here" if granted else "Ray granted none to this worker"
    raise UsageError(
        f"{field}={gpus:g}: {why}. Set {field}=0 to compute on the CPU; `python -m jobs.doctor env` "
        "on that machine tells what it has."
    )


def device_beside_actors(config: Config) -> torch.device:
    """For the model of a process that evaluates or indexes: where actors embed, GPUs are left to them.

    Raises UsageError as `device_here` does.
    """
    settings = config.evaluate
    if settings.actors:
        return CPU
    return device_here(settings.gpus_per_actor or None, "evaluate.gpus_per_actor")


def _granted() -> bool:
    """Whether GPUs that this process sees are its own: outside Ray's workers they are."""
    ray: Any = sys.modules.get("ray")  # a worker has imported it; a verb in one process need not
    if ray is None or not ray.is_initialized():
        return True
    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        return True
    return bool(ray.get_gpu_ids())  # numbers or strings: only their presence says something
