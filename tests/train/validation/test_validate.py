"""Validation during training: on held-out identities, by its own protocol, and the best weights are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from reid.config import Config
from reid.config.addresses import run_fingerprint
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError
from reid.preflight import preflight
from reid.runs.folder import RunFolder
from reid.train.loop import train
from reid.train.reports import EpochReport
from reid.train.state import WEIGHTS_FILE
from tests.support.models.observers import Recorder
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, same

Configure = Callable[..., Config]


def test_validation_measures_held_out_identities_and_the_best_weights_are_kept(
    configure: Configure, tmp_path: Path
) -> None:
    seen: list[tuple[float, dict[str, Tensor]]] = []

    def keep(report: EpochReport) -> None:
        state = load_file(tmp_path / "state" / WEIGHTS_FILE)
        seen.append((report.metrics["val/mAP"], {name: x.clone() for name, x in state.items()}))

    config = configure("train.val.fraction=0.25", "train.epochs=4", "train.optim.lr=1e-2")
    train(config, str(tmp_path / "run"), observer=Recorder(tmp_path / "state", on_epoch=keep))
    run = RunFolder.open(str(tmp_path / "run"))
    assert len(run.labels().classes) == 6
    best = max(value for value, _ in seen)
    first_best = next(state for value, state in seen if value == best)
    assert run.info["selection"] == "best val/mAP"
    assert run.info["validation_identities"] == run.metrics()[-1]["val/identities"] == 2
    assert run.info["validation_note"].startswith("validation: on 2 identities only")
    assert run.info["best_metric"] == best
    assert same(run.weights(), first_best)
    assert 0 <= best <= 1


def test_validation_runs_every_so_many_epochs_and_at_the_end(configure: Configure, tmp_path: Path) -> None:
    seen = Recorder()
    config = configure(
        "train.val={fraction: 0.25, every_epochs: 2}", "train.epochs=3", "train.steps_per_epoch=1"
    )
    train(config, str(tmp_path / "run"), observer=seen)
    assert ["val/mAP" in metrics for metrics in seen.metrics] == [False, True, True]


def test_any_to_any_models_are_validated_from_each_modality_to_rgb(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.val.fraction=0.25", "train.epochs=1", *MEAN_WITH_TEXT)
    metrics = train(config, str(tmp_path / "run"))
    names = {"rgb", "nir->rgb", "text->rgb", "nir+text->rgb"}
    assert {k.removeprefix("val/mAP/") for k in metrics if k.startswith("val/mAP/")} == names
    mean = sum(metrics[f"val/mAP/{name}"] for name in names) / 4
    assert metrics["val/mAP"] == pytest.approx(mean)


def test_a_protocol_that_keeps_the_described_photo_asks_no_photo_for_itself(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(
        "train.val.fraction=0.25", "train.epochs=1", "train.val.protocol=text_to_image", *MEAN_WITH_TEXT
    )
    metrics = train(config, str(tmp_path / "run"))
    asked = {k.removeprefix("val/mAP/") for k in metrics if k.startswith("val/mAP/")}
    assert "rgb" not in asked and "text->rgb" in asked


def test_validation_without_a_single_match_is_an_error_and_not_a_nan(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    alone = write_shards(tmp_path / "shards", [sample(pid, 0) for pid in range(8) for _ in (0,)])
    config = configure("train.val.fraction=0.25", f"data.shards={alone.root}", "train.epochs=1")
    with pytest.raises(ConfigError, match=r"one capture only.*train\.val\.fraction=0"):
        train(config, str(tmp_path / "run"))


def one_camera(samples: list[Sample]) -> list[Sample]:
    """The same captures, as if one camera had taken them all."""
    return [replace(s, labels=replace(s.labels, camid=0)) for s in samples]


def test_validation_follows_its_own_protocol(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    """In a set of one camera nothing is found across cameras, but each identity has other captures."""
    taken = one_camera([sample(pid, number) for pid in range(8) for number in range(3)])
    shards = write_shards(tmp_path / "shards", taken)
    fields = ("train.val.fraction=0.25", f"data.shards={shards.root}", "train.epochs=1")
    across = configure(*fields, "train.val.protocol=cross_camera", "evaluate.protocol=all")
    for refused in (lambda: preflight(across, "train"), lambda: train(across, str(tmp_path / "run"))):
        with pytest.raises(ConfigError, match=r"^train\.val\.protocol: under cross_camera.*=auto"):
            refused()
    few, told = preflight(configure(*fields), "train")
    assert "on 2 identities only" in few
    assert told.startswith("validation: one camera: train.val.protocol=auto is the protocol roles")
    for protocol in ("roles", "all", "auto"):
        metrics = train(configure(*fields, f"train.val.protocol={protocol}"), "", finish=False)
        assert 0 < metrics["val/mAP"] <= 1


def test_two_at_least_are_held_out_and_the_run_says_so(configure: Configure) -> None:
    """Among the pictures of one identity everything found is right."""
    (few,) = preflight(configure("train.val.fraction=0.25"), "train")
    assert few.startswith("validation: on 2 identities only; with fewer than 10 its numbers are rough")
    told, again = preflight(configure("train.val.fraction=0.01"), "train")
    assert again == few
    assert "train.val.fraction=0.01 of 8 training identities is 0" in told and "2 are held out" in told


def test_an_unknown_protocol_is_told_before_anything_is_read(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.val.protocol=cross_cam", f"data.shards={tmp_path / 'absent'}")
    with pytest.raises(ConfigError, match=r"^train\.val\.protocol: .*'cross_cam'.*mean 'cross_camera'"):
        train(config, str(tmp_path / "run"))


def test_the_protocol_of_validation_names_a_run_and_that_of_evaluation_does_not(configure: Configure) -> None:
    """The first selects the weights; the second only reads them."""
    name = run_fingerprint(configure(), "data")
    assert run_fingerprint(configure("evaluate.protocol=roles"), "data") == name
    assert run_fingerprint(configure("train.val.protocol=roles"), "data") != name
