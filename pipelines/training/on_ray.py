"""Training in Ray Train's workers. Nothing that Ray keeps of an attempt is read by the next one."""

from __future__ import annotations

from typing import Any

from pipelines.placement.gpus import gpus_each
from pipelines.progress import Say
from pipelines.tracebacks import with_traceback
from pipelines.training.requests import train_requests
from pipelines.training.run_log import RunLog
from pipelines.training.worker import worker
from reid import storage
from reid.config import Config
from reid.config.sections.training.workers import worker_counts


def train_on_ray(config: Config, uri: str, out: Say) -> None:
    """Ray TorchTrainer; its storage lies in the run folder."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    from pipelines.training.attempts import Limits, fit

    fs, path = storage.resolve(uri)
    storage.make_dir(uri)
    settings = config.train
    gpus = gpus_each("train", config, out)

    def trainer(workers: int, failures: ray.train.FailureConfig, callbacks: list[Any]) -> TorchTrainer:
        return TorchTrainer(
            with_traceback(worker),
            train_loop_config={"config": config.model_dump(mode="json"), "run": uri, "gpus": gpus},
            # NCCL refuses two ranks on one GPU, gloo does not.
            torch_config=TorchConfig(backend="gloo" if gpus < 1 else "nccl", timeout_s=1800),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": settings.cpus_per_worker} | ({"GPU": gpus} if gpus else {}),
            ),
            run_config=ray.train.RunConfig(
                name=f"{config.name}-{uri.rpartition('/')[2]}",
                storage_path=path,
                storage_filesystem=fs,
                failure_config=failures,
                callbacks=callbacks,
            ),
        )

    with RunLog(uri).shown(out):
        (request,) = train_requests(config, gpus)
        counts = worker_counts(settings.workers, settings.batch.identities)
        limits = Limits(settings.max_failures, settings.max_lost_nodes)
        fit(trainer, request, config.ray, limits, out, counts, uri)
