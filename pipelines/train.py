"""Train on Ray Train: DDP workers around `reid.train.loop`, resumable by running the same config again.

The run folder's name is a fingerprint of config and data, and Ray's own state lies inside it, so a name never
resumes another configuration. `train.workers=0` trains in this process without Ray.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.devices import device_here
from pipelines.progress import Say, duration, say
from reid import storage
from reid.config import Config, load, override
from reid.config.addresses import run_fingerprint, run_uri, shards_uri
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.protocols.choice import check_name
from reid.preflight import preflight
from reid.runs.folder import RunFolder
from reid.storage.run_files import RUN_FILE
from reid.train.checks import FIELD as VAL_PROTOCOL
from reid.train.checks import of_few
from reid.train.loop import EpochReport, train
from reid.train.shard_sensors import sensors_of
from reid.train.state import STATE_FILE

if TYPE_CHECKING:
    from pipelines.resources import Request

_KNOWN_S = 60.0
"""How long Ray's controller may take to learn of a checkpoint before training goes on all the same."""


@dataclass(frozen=True)
class TrainResult:
    """The run folder, and whether this call had to train."""

    run: RunFolder
    trained: bool


def train_run(config: Config, out: Say = say, ready: Callable[[], None] = lambda: None) -> TrainResult:
    """Train the config's run, or return it when it is finished. Raises TrainingError with the first cause.

    What `preflight` refuses is raised before any work. `ready` starts Ray; it is called after that, if the
    run trains in Ray's workers.
    """
    try:
        config, uri = resolve_run(config)
    except DataError:
        preflight(config, "train")  # a set that cannot be built is not told to be built
        raise
    if storage.exists(storage.join(uri, RUN_FILE)):
        return TrainResult(RunFolder.open(uri), trained=False)
    for line in preflight(config, "train"):
        out(f"train: {line}")
    if config.train.workers == 0:
        _train_here(config, uri, out)
    else:
        ready()
        _train_on_ray(config, uri, out)
    return TrainResult(RunFolder.open(uri), trained=True)


def resolve_run(config: Config) -> tuple[Config, str]:
    """The config with absolute paths (workers run elsewhere), and its run folder.

    The run records how its set's deep pictures became 8 bits, since it will read those of queries so. Raises
    ConfigError for an unknown `train.val.protocol` and for other such settings, before any worker starts.
    """
    check_name(config.train.val.protocol, VAL_PROTOCOL)
    shards = ShardSet.open(shards_uri(config))
    sensors = sensors_of(config, shards)
    resolved = override(
        config,
        {
            "data.shards": shards.root,
            "data.range": sensors.get("range", {}),
            "data.fourth_band": sensors.get("fourth_band", "drop"),
            "workdir": storage.absolute(config.workdir),
            "model": _absolute_weights(config),
            "train.init_from": config.train.init_from and storage.absolute(config.train.init_from),
        },
    )
    return resolved, run_uri(resolved, shards.fingerprint)


def _absolute_weights(config: Config) -> dict[str, Any]:
    """Model section with run: and file weights made absolute, so that workers elsewhere find them."""
    section = config.model.model_dump(mode="json")
    spec = section.get("weights")
    if isinstance(spec, str) and spec.startswith("run:"):
        section["weights"] = f"run:{storage.absolute(spec.removeprefix('run:'))}"
    elif isinstance(spec, str) and storage.exists(spec):
        section["weights"] = storage.absolute(spec)
    return section


class TrainLines:
    """Lines for a person: one an epoch, and one every half minute within long epochs."""

    def __init__(self, epochs: int, out: Say, every: float = 30.0) -> None:
        self.epochs, self.out, self.every = epochs, out, every
        self._printed = self._began = time.monotonic()

    def tick(self, step: int, steps: int, loss: float) -> None:
        """After a step."""
        now = time.monotonic()
        if step == 1:  # the first step warms up: time is told from it on
            self._began = self._printed = now
            return
        if now - self._printed < self.every or step == steps:
            return
        self._printed = now
        left = duration((now - self._began) / max(step - 1, 1) * (steps - step))
        self.out(f"train: step {step}/{steps} of this epoch, loss {loss:.3f}, {left} left of it")

    def report(self, report: EpochReport) -> None:
        """After an epoch."""
        m = report.metrics
        self._printed = time.monotonic()
        left = duration((self.epochs - report.epoch) * m["seconds"])
        few = of_few(m.get("val/identities"))
        val = f", val mAP {m['val/mAP']:.3f}{few}" if "val/mAP" in m else ""
        self.out(
            f"train: epoch {report.epoch}/{self.epochs}, step {m['step']}, loss {m['loss']:.3f}{val}, "
            f"{m['rows_per_s']:.0f} rows/s, {left} left"
        )


class RunLog:
    """Lines written to `<run>/train.log` by rank 0, wherever it runs, and shown by the driver."""

    def __init__(self, run: str) -> None:
        self.uri = storage.join(run, "train.log")
        self.lines = storage.read_bytes(self.uri).decode().splitlines() if storage.exists(self.uri) else []

    def write(self, line: str) -> None:
        """Append a line (the file is small and written whole, so that it works on S3)."""
        self.lines.append(line)
        storage.write_bytes(self.uri, ("\n".join(self.lines) + "\n").encode())

    @contextlib.contextmanager
    def shown(self, out: Say) -> Iterator[None]:
        """Show new lines while the block runs."""
        ended = threading.Event()
        count = len(self.lines)

        def follow() -> None:
            nonlocal count
            while True:
                last = ended.wait(1.0)
                lines = RunLog(self.uri.rpartition("/")[0]).lines
                for line in lines[count:]:
                    out(line)
                count = len(lines)
                if last:
                    return

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _train_here(config: Config, uri: str, out: Say) -> None:
    """In this process; the state file in the run folder makes it resumable."""
    device = device_here(config.train.gpus_per_worker, "train.gpus_per_worker")
    state = storage.join(uri, STATE_FILE)
    lines = TrainLines(config.train.epochs, out)
    with tempfile.TemporaryDirectory() as scratch:
        resume = None
        if storage.exists(state):
            resume = Path(scratch)
            (resume / STATE_FILE).write_bytes(storage.read_bytes(state))
            out(f"train: resuming from {state}")

        def report(epoch: EpochReport) -> None:
            if epoch.checkpoint_due:
                epoch.save(Path(scratch))
                storage.write_bytes(state, (Path(scratch) / STATE_FILE).read_bytes())
            lines.report(epoch)  # last: an epoch that was told is kept

        train(config, uri, resume=resume, device=device, report=report, tick=lines.tick)
    storage.delete_file(state)


def _train_on_ray(config: Config, uri: str, out: Say) -> None:
    """Ray TorchTrainer; its storage lies in the run folder."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    from pipelines.attempts import fit

    fs, path = storage.resolve(uri)
    storage.make_dir(uri)
    settings = config.train
    shards = ShardSet.open(str(config.data.shards))

    def trainer(failures: ray.train.FailureConfig, callbacks: list[Any]) -> TorchTrainer:
        return TorchTrainer(
            worker,
            train_loop_config={"config": config.model_dump(mode="json"), "run": uri},
            torch_config=TorchConfig(timeout_s=1800),
            scaling_config=ray.train.ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpus_per_worker > 0,
                resources_per_worker={"CPU": settings.cpus_per_worker}
                | ({"GPU": settings.gpus_per_worker} if settings.gpus_per_worker else {}),
            ),
            run_config=ray.train.RunConfig(
                name=f"{config.name}-{run_fingerprint(config, shards.fingerprint)}",
                storage_path=path,
                storage_filesystem=fs,
                failure_config=failures,
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
                callbacks=callbacks,
            ),
        )

    with RunLog(uri).shown(out):
        fit(trainer, train_requests(config), config.ray, settings.max_failures, out)


def train_requests(config: Config) -> list[Request]:
    """What training asks of the cluster; nothing when it is done in this process."""
    settings = config.train
    if settings.workers == 0:
        return []
    from pipelines.resources import Request

    fields = ("workers", "cpus_per_worker", "gpus_per_worker")
    return [
        Request(
            what="worker" if settings.workers == 1 else "workers",
            count=settings.workers,
            bundle={"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker},
            fields={f"train.{name}": getattr(settings, name) for name in fields},
        )
    ]


def worker(arguments: dict[str, Any]) -> None:
    """One DDP rank."""
    import ray.train
    from ray.train import CheckpointConsistencyMode

    config, uri = load(arguments["config"]), arguments["run"]
    context = ray.train.get_context()
    main = context.get_world_rank() == 0
    log = RunLog(uri)
    lines = TrainLines(config.train.epochs, log.write)
    checkpoint = ray.train.get_checkpoint()

    def report(epoch: EpochReport) -> None:
        metrics = {k: v for k, v in epoch.metrics.items() if isinstance(v, int | float)}
        if not main:
            ray.train.report(metrics if metrics else {"epoch": epoch.epoch})
            return
        if epoch.checkpoint_due:
            with tempfile.TemporaryDirectory() as folder:
                epoch.save(Path(folder))
                saved = ray.train.Checkpoint.from_directory(folder)
                ray.train.report(metrics, checkpoint=saved, checkpoint_dir_name=f"epoch-{epoch.epoch:04d}")
            # Ray's controller has it when it next asks: until then, a run that ends would not go on from it.
            ray.train.get_all_reported_checkpoints(CheckpointConsistencyMode.COMMITTED, timeout_s=_KNOWN_S)
        else:
            ray.train.report(metrics)
        lines.report(epoch)  # last: an epoch that was told is kept

    device = device_here(config.train.gpus_per_worker, "train.gpus_per_worker")
    if device.type == "cuda":
        # Workers of one node see each other's GPUs; this is the one of ours.
        device = ray.train.torch.get_device()
    if checkpoint is None:
        train(config, uri, device=device, report=report, tick=lines.tick if main else None)
        return
    if main:
        log.write(f"train: resuming from {checkpoint.path}")
    with checkpoint.as_directory() as folder:
        train(
            config, uri, resume=Path(folder), device=device, report=report, tick=lines.tick if main else None
        )
