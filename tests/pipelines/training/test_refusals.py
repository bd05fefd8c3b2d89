"""What a training worker refuses ends the run at once: a second try would meet it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.training.attempts import StopAtRefusals
from pipelines.training.failures import innermost
from pipelines.training.train import train_run
from reid.errors import AnyReIDError, ConfigError, DataError, StorageError, TrainingError, WeightsError
from tests.support.tiny_configs import built, config_of, silent


class Wrapped(Exception):
    """As Ray hands on what a worker raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a traceback")
        self.cause = cause


@pytest.mark.parametrize(
    "refused",
    [
        ConfigError("train.val.protocol: no"),
        TrainingError("too few"),
        WeightsError("a.pt: no such weights file"),
        DataError("a: schema version 0"),
    ],
)
def test_a_refusal_is_raised_in_the_controller(refused: AnyReIDError) -> None:
    error = Wrapped(Wrapped(refused))
    assert innermost(error) is refused
    with pytest.raises(type(refused)) as caught:
        StopAtRefusals().after_exception(None, {0: ConnectionError("gone"), 1: error})
    assert caught.value is refused


def test_what_may_pass_by_itself_is_left_to_ray() -> None:
    StopAtRefusals().after_exception(None, {0: StorageError("s3://x: slow"), 1: Wrapped(OSError("reset"))})


@pytest.mark.slow
def test_a_workers_refusal_comes_back_as_itself_and_is_not_retried(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver would refuse it before; here it is made to overlook it."""
    import ray.train

    one = ("data.reader.cameras=1", "data.reader.captures=4")
    built(tmp_path, *one)
    monkeypatch.setattr("pipelines.training.train.preflight", lambda config, verb: [])
    asked = ("train.workers=1", "train.max_failures=3", "train.val.fraction=0.5")
    config = config_of(tmp_path, *one, *asked, "train.val.protocol=cross_camera")
    with pytest.raises(ConfigError, match=r"^train\.val\.protocol: under cross_camera") as caught:
        train_run(config, silent)
    assert isinstance(caught.value.__cause__, ray.train.ControllerError)  # a retried one: WorkerGroupError
