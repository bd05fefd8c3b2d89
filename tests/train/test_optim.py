"""Which parameter learns how fast, and when."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from reid.config import OptimConfig, load
from reid.errors import ConfigError
from reid.train.optim import build_optimizer, learning_rate, set_learning_rates

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "schedule.json").read_text())
RECIPE = load("baseline/rgbnt201").train.optim


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_tower = nn.Linear(2, 3)
        self.head = nn.Linear(3, 2)
        self.head_norm = nn.BatchNorm1d(3)
        self.head_norm.bias.requires_grad_(False)


def groups(config: OptimConfig) -> dict[str, tuple[float, float]]:
    """Parameter name -> (lr, weight decay)."""
    model = Small()
    names = {id(p): n for n, p in model.named_parameters()}
    optimizer = build_optimizer(model, config)
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    found = groups(OptimConfig())
    assert set(found) == {n for n, p in Small().named_parameters() if p.requires_grad}
    assert "head_norm.bias" not in found


def test_the_first_matching_row_wins() -> None:
    rows = [{"match": "weight$", "lr": 1.0}, {"match": "^head", "lr": 2.0}]
    found = groups(OptimConfig.model_validate({"lr": 3.0, "groups": rows}))
    assert {name: lr for name, (lr, _) in found.items()} == {
        "image_tower.weight": 1.0,
        "image_tower.bias": 3.0,
        "head.weight": 1.0,
        "head.bias": 2.0,
        "head_norm.weight": 1.0,
    }


def test_biases_learn_faster_only_outside_the_rows() -> None:
    rows = [{"match": r"^image_tower\.", "lr": 1.0}]
    found = groups(OptimConfig.model_validate({"lr": 3.0, "bias_lr_factor": 2.0, "groups": rows}))
    assert found["image_tower.bias"][0] == 1.0
    assert found["head.bias"][0] == 6.0
    assert found["head.weight"][0] == 3.0


def test_a_row_may_set_its_own_weight_decay() -> None:
    rows = [{"match": "norm", "lr": 1.0, "weight_decay": 0.0}, {"match": "head", "lr": 1.0}]
    found = groups(OptimConfig.model_validate({"weight_decay": 0.3, "groups": rows}))
    assert found["head_norm.weight"][1] == 0.0
    assert found["head.weight"][1] == found["image_tower.weight"][1] == 0.3


def test_a_row_that_matches_nothing_is_named() -> None:
    rows = [{"match": "head", "lr": 1.0}, {"match": r"^image_towr\.", "lr": 1.0}]
    with pytest.raises(ConfigError, match=r"train\.optim\.groups.*image_towr.*matches no trainable"):
        groups(OptimConfig.model_validate({"groups": rows}))


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_named_one(name: str, kind: type[torch.optim.Optimizer]) -> None:
    assert type(build_optimizer(Small(), OptimConfig.model_validate({"name": name}))) is kind


@pytest.mark.parametrize("group", ["tower", "new_modules"])
def test_the_papers_recipe_has_the_official_learning_rates(group: str) -> None:
    """The tower is warmed *down*: it starts at a tenth of the base rate, seven times its own."""
    peak, epochs = GOLDEN[group]["peak"], GOLDEN["epochs"]
    found = [learning_rate(RECIPE, peak, epoch, epochs) for epoch in GOLDEN["at"]]
    assert found == pytest.approx(GOLDEN[group]["lr"], rel=3e-3)  # three digits
    assert learning_rate(RECIPE, peak, 0, epochs) == pytest.approx(3.5e-5)
    assert learning_rate(RECIPE, peak, epochs, epochs) == pytest.approx(GOLDEN["last"])


def test_the_papers_preset_gives_the_tower_its_own_rate() -> None:
    (row,) = RECIPE.groups
    assert (row.match, row.lr, RECIPE.lr) == (r"^(image_tower|text_tower)\.", 5e-6, 3.5e-4)


def test_by_default_each_group_warms_up_from_a_part_of_its_own_rate() -> None:
    config = OptimConfig(lr=1.0, warmup_epochs=4, warmup_factor=0.1)
    for peak in (1.0, 0.01):
        found = [learning_rate(config, peak, e, 20) / peak for e in (0, 1, 2, 4)]
        warm = [0.1, 0.325, 0.55]
        assert found[:3] == pytest.approx(warm)
        assert found[3] < 1.0


def test_the_schedule_moves_within_an_epoch() -> None:
    assert learning_rate(RECIPE, 3.5e-4, 0.5, 45) == pytest.approx(3.5e-5 + 0.05 * (3.5e-4 - 3.5e-5))


def test_after_the_warm_up_a_cosine_never_rises() -> None:
    found = [learning_rate(RECIPE, 3.5e-4, e / 10, 50) for e in range(100, 501)]
    assert all(b < a for a, b in pairwise(found))


def test_a_constant_schedule_stays_at_the_peak_after_the_warm_up() -> None:
    config = OptimConfig(schedule="constant", warmup_epochs=2)
    assert [learning_rate(config, 0.3, e, 10) for e in (2, 5, 10)] == [0.3] * 3


def test_the_schedule_is_applied_to_every_group() -> None:
    rows = [{"match": "^image_tower", "lr": 5e-6}]
    config = RECIPE.model_copy(update={"groups": OptimConfig.model_validate({"groups": rows}).groups})
    optimizer = build_optimizer(Small(), config)
    set_learning_rates(optimizer, config, 5, 45)
    assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx([2.0e-5, 1.925e-4, 3.675e-4])
