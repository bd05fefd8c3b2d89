"""What `train.compute` and `train.optim.fused` change: speed and memory, not the step."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from reid.config import OptimConfig
from reid.config.sections.training.compute import ComputeConfig
from reid.errors import ConfigError
from reid.nn import compiled_blocks
from reid.nn.blockwise import BlockRun
from reid.train.loop import train
from reid.train.optimizer import build_optimizer
from reid.train.steps.computing import block_run, tf32, validation_autocast
from tests.support.models.ddp_ranks import config_of, model_of
from tests.support.models.rank_comparison import PLAIN, same, weights
from tests.support.models.tiny_training import Configure

CPU = torch.device("cpu")


def test_training_with_activations_computed_again_ends_with_the_same_weights(
    configure: Configure, tmp_path: Path
) -> None:
    for name in ("false", "true"):
        config = configure("train.epochs=1", f"train.compute.checkpoint_activations={name}", *PLAIN)
        train(config, str(tmp_path / name))
    assert same(weights(tmp_path / "false"), weights(tmp_path / "true"))


def test_training_in_parts_ends_with_the_same_weights(configure: Configure, tmp_path: Path) -> None:
    for name in ("1", "3"):
        config = configure("train.epochs=1", f"train.compute.accumulate={name}", "train.optim.eps=1e-3")
        train(config, str(tmp_path / name))
    whole, parts = weights(tmp_path / "1"), weights(tmp_path / "3")
    assert all(torch.allclose(whole[n], parts[n], atol=1e-6) for n in whole)


@pytest.mark.parametrize("case", ["mfrnet", "mixer", "flexireid"])
def test_parts_are_refused_where_rows_are_mixed(case: str) -> None:
    model = model_of(config_of(case))
    with pytest.raises(ConfigError, match=rf"train.compute.accumulate: 2 parts .* {case}'s step .*batch"):
        block_run(ComputeConfig(accumulate=2), model, case, CPU)
    assert block_run(ComputeConfig(), model, case, CPU) == BlockRun()


def test_validation_may_stay_in_float32(configure: Configure) -> None:
    for kind, dtype in (("same", torch.bfloat16), ("fp32", torch.float32)):
        config = configure("train.compute.precision=bf16", f"train.compute.validation={kind}")
        with validation_autocast(config, CPU):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_validation_in_bf16_measures_the_same_metrics(configure: Configure, tmp_path: Path) -> None:
    found = {}
    for kind in ("same", "fp32"):
        options = ("train.compute.precision=bf16", f"train.compute.validation={kind}")
        config = configure("train.epochs=1", "train.val.fraction=0.5", *options)
        found[kind] = train(config, str(tmp_path / kind))
    assert found["same"].keys() == found["fp32"].keys()
    assert found["same"]["val/mAP"] == pytest.approx(found["fp32"]["val/mAP"], abs=0.1)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_fused_optimiser_makes_the_same_updates(name: str) -> None:
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
        optimizer = build_optimizer(
            model, OptimConfig.model_validate({"name": name, "lr": 0.01, "weight_decay": 0.1, "fused": fused})
        )
        assert bool(optimizer.defaults["fused"]) == fused
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.arange(12.0).view(2, 6)).square().sum().backward()
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_auto_is_fused_on_a_gpu_alone() -> None:
    assert not build_optimizer(torch.nn.Linear(2, 2), OptimConfig()).defaults["fused"]


def test_tf32_is_torchs_own_setting_unless_it_is_set_and_only_within_a_training() -> None:
    before = torch.get_float32_matmul_precision()
    for setting, within in ((None, before), (True, "high"), (False, "highest")):
        with tf32(setting):
            assert torch.get_float32_matmul_precision() == within
        assert torch.get_float32_matmul_precision() == before
        torch.backends.cudnn.allow_tf32 = True


def test_a_compiler_that_fails_is_told_once_and_blocks_run_as_they_are(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler here")

    monkeypatch.setattr(torch, "compile", fails)
    monkeypatch.setattr(compiled_blocks, "_failed", [])
    with caplog.at_level(logging.WARNING):
        for name in ("none", "blocks"):
            train(configure("train.epochs=1", f"train.compute.compile={name}"), str(tmp_path / name))
    assert same(weights(tmp_path / "none"), weights(tmp_path / "blocks"))
    told = [r.getMessage() for r in caplog.records if "train.compute.compile" in r.getMessage()]
    assert len(told) == 1
    assert "run uncompiled" in told[0]
    assert "no C++ compiler here" in told[0]
