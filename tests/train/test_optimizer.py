"""Which parameter learns how fast, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
import torch
from torch import nn

from reid.config import OptimConfig, load
from reid.errors import ConfigError
from reid.train.optimizer import build_optimizer, learning_rate, noise_factor, set_learning_rates
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "schedule.json").read_text())
RECIPE = load("baseline/rgbnt201").train.optim
PAPERS = OptimConfig(
    name="adam", lr=3.5e-4, warmup_epochs=10, warmup_reference="base", final_factor=1e-3, per="epoch"
)


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_rates_follow_the_batch_by_the_rule(rule: str, factor: float) -> None:
    given = {"lr": 1e-3, "groups": [{"match": "^image", "lr": 1e-5}]}
    stated = {"scale_lr": rule, "scale_lr_from": 8} if rule != "none" else {}
    scaled = OptimConfig.model_validate(given | stated).scaled(32)
    groups = build_optimizer(Small(), scaled).param_groups
    assert [g["peak_lr"] for g in groups] == pytest.approx([factor * 1e-5, factor * 1e-3])
    assert scaled.scaled(512) == scaled  # a rule is applied once


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image_tower = nn.Linear(2, 3)
        self.head = nn.Linear(3, 2)
        self.head_norm = nn.BatchNorm1d(3)
        self.head_norm.bias.requires_grad_(False)


def named(names: Iterable[str]) -> nn.Module:
    """A module whose parameters have these dotted names."""
    root = nn.Module()
    for name in names:
        *path, last = name.split(".")
        holder = root
        for part in path:
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = holder.get_submodule(part)
        holder.register_parameter(last, nn.Parameter(torch.zeros(1)))
    return root


def groups(config: OptimConfig, model: nn.Module | None = None) -> dict[str, tuple[float, float]]:
    """Parameter name -> (lr, weight decay)."""
    model = model or Small()
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


def test_a_row_may_have_a_factor_for_its_own_biases() -> None:
    rows = [{"match": r"^image_tower\.", "lr": 1.0, "bias_lr_factor": 4.0}, {"match": "^head$", "lr": 9.0}]
    model = nn.ModuleDict({"image_tower": nn.Linear(2, 3), "other": nn.Linear(2, 2)})
    model.register_parameter("head", nn.Parameter(torch.zeros(1)))
    found = groups(OptimConfig.model_validate({"lr": 3.0, "bias_lr_factor": 2.0, "groups": rows}), model)
    assert {name: lr for name, (lr, _) in found.items()} == {
        "image_tower.weight": 1.0,
        "image_tower.bias": 4.0,
        "other.weight": 3.0,
        "other.bias": 6.0,
        "head": 9.0,
    }


@pytest.mark.parametrize("system", ["mfrnet/rgbnt201", "signal/msvr310"])
def test_the_papers_groups_are_expressible(system: str) -> None:
    golden = GOLDEN["groups"][system]
    found = groups(OptimConfig.model_validate(golden["optim"]), named(golden["lr"]))
    assert {name: lr for name, (lr, _) in found.items()} == pytest.approx(golden["lr"])
    assert {decay for _, decay in found.values()} == {1e-4}, "on every parameter"


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


def trace(config: OptimConfig, peak: float, epochs: int, steps: int = 3) -> list[list[float]]:
    """The lr of every step, by epoch, as the training loop sets it."""
    optimizer = build_optimizer(nn.Linear(1, 1), config.model_copy(update={"lr": peak}))

    def at(position: float) -> float:
        set_learning_rates(optimizer, config, position, epochs)
        return float(optimizer.param_groups[0]["lr"])

    return [[at(epoch + step / steps) for step in range(steps)] for epoch in range(epochs)]


@pytest.mark.parametrize("group", ["tower", "new_modules"])
def test_per_epoch_all_steps_of_the_nth_epoch_have_the_value_at_n(group: str) -> None:
    peak, epochs = GOLDEN[group]["peak"], GOLDEN["epochs"]
    found = trace(PAPERS, peak, epochs)
    assert all(len(set(epoch)) == 1 for epoch in found)
    values = [epoch[0] for epoch in found]
    assert [values[e - 1] for e in GOLDEN["at"]] == pytest.approx(GOLDEN[group]["lr"], rel=3e-3)
    assert values == [learning_rate(PAPERS, peak, e, epochs) for e in range(1, epochs + 1)]
    assert values[-1] == pytest.approx(GOLDEN["last"])


def test_per_step_the_schedule_moves_from_zero_with_every_step() -> None:
    config = PAPERS.model_copy(update={"per": "step"})
    found = trace(config, 3.5e-4, 45, steps=2)
    assert found[0] == pytest.approx([3.5e-5, 3.5e-5 + 0.05 * (3.5e-4 - 3.5e-5)])
    assert found[10][0] == learning_rate(config, 3.5e-4, 10, 45)
    assert all(b < a for a, b in pairwise([lr for epoch in found[10:] for lr in epoch]))


def test_signal_on_rgbnt100_starts_the_tower_far_above_its_peak() -> None:
    golden = GOLDEN["signal_rgbnt100"]
    config = OptimConfig.model_validate(golden["optim"])
    found = trace(config, golden["peak"], golden["epochs"])
    assert found[0][0] == pytest.approx(golden["first"])
    assert found[4][0] < golden["peak"]
    assert found[-1][0] == pytest.approx(7e-7)


def test_multistep_falls_at_and_after_each_milestone() -> None:
    golden = GOLDEN["signal_msvr310"]
    config = OptimConfig.model_validate(golden["optim"])
    found = [learning_rate(config, golden["peak"], e, golden["epochs"]) for e in golden["at"]]
    assert found == pytest.approx(golden["lr"], rel=1e-9)
    steps = trace(config, golden["peak"], golden["epochs"])
    assert [steps[e - 1][-1] for e in golden["at"]] == pytest.approx(golden["lr"], rel=1e-9)
    within = trace(config.model_copy(update={"per": "step"}), golden["peak"], golden["epochs"])
    assert [within[i][0] / golden["peak"] for i in (19, 20, 39, 40)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_multistep_follows_a_warm_up() -> None:
    config = OptimConfig(schedule="multistep", milestones=(5,), warmup_epochs=4, warmup_factor=0.5)
    found = [learning_rate(config, 1.0, e, 10) for e in (0, 2, 4, 5)]
    assert found == pytest.approx([0.5, 0.75, 1.0, 0.1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{schedule: multistep}", r"train\.optim\.milestones: schedule multistep needs milestones"),
        ("{schedule: multistep, milestones: [40, 20]}", r"train\.optim\.milestones: .*ascending"),
        ("{milestones: [20, 20]}", r"train\.optim\.milestones: .*none twice"),
        ("{milestones: [0]}", r"train\.optim\.milestones\.0: .*greater than or equal to 1"),
        ("{noise: 1}", r"train\.optim\.noise: .*less than 1"),
        ("{noise: 1.0e-6}", r"train\.optim\.noise: 0 is none; otherwise at least 0\.001"),
        ("{per: batch}", r"train\.optim\.per: .*'step' or 'epoch'"),
        ("{groups: [{match: a, lr: 1, bias_lr_factor: 0}]}", r"groups\.0\.bias_lr_factor: .*greater than 0"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(fields: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("baseline/rgbnt201", [f"train.optim={fields}"])


def test_noise_has_the_official_factors() -> None:
    golden = GOLDEN["noise"]
    config = PAPERS.model_copy(update={"noise": golden["limit"]})
    clean, noisy = (trace(c, 3.5e-4, golden["epochs"]) for c in (PAPERS, config))
    factors = [b[0] / a[0] for a, b in zip(clean, noisy, strict=True)]
    assert factors == pytest.approx(golden["factors"], abs=5.1e-4)
    assert all(len(set(epoch)) == 1 for epoch in noisy)
    assert noisy[-1][0] == pytest.approx(GOLDEN["last"]), "the last epoch has none"


def test_noise_is_one_factor_an_epoch_for_all_groups_in_a_moving_schedule_too() -> None:
    config = PAPERS.model_copy(update={"noise": 0.67, "per": "step"})
    plain = PAPERS.model_copy(update={"per": "step"})
    for peak in (3.5e-4, 5e-6):
        clean, noisy = (trace(c, peak, 12) for c in (plain, config))
        for number, (a, b) in enumerate(zip(clean, noisy, strict=True), 1):
            expected = GOLDEN["noise"]["factors"][number - 1] if number < 12 else 1
            assert [y / x for x, y in zip(a, b, strict=True)] == pytest.approx([expected] * 3, abs=5.1e-4)


def test_noise_stays_below_its_limit_and_leaves_other_draws_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    noise_factor.cache_clear()
    drawn = [noise_factor(0.2, number) for number in range(1, 60)]
    assert torch.equal(torch.rand(3), expected)
    assert len(set(drawn)) == 59
    assert all(abs(factor - 1) < 0.2 for factor in drawn)
    assert noise_factor(0, 1) == 1


def test_after_the_warm_up_a_cosine_never_rises() -> None:
    found = [learning_rate(RECIPE, 3.5e-4, e / 10, 50) for e in range(100, 501)]
    assert all(b < a for a, b in pairwise(found))


def test_a_constant_schedule_stays_at_the_peak_after_the_warm_up() -> None:
    config = OptimConfig(schedule="constant", warmup_epochs=2)
    assert [learning_rate(config, 0.3, e, 10) for e in (2, 5, 10)] == [0.3] * 3


def test_the_schedule_is_applied_to_every_group() -> None:
    rows = [{"match": "^image_tower", "lr": 5e-6}]
    fields = {"groups": rows, "bias_lr_factor": 2.0, "warmup_epochs": 10, "warmup_reference": "base"}
    config = OptimConfig.model_validate({"name": "adam", "lr": 3.5e-4, **fields})
    optimizer = build_optimizer(Small(), config)
    set_learning_rates(optimizer, config, 5, 45)
    assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx([2.0e-5, 1.925e-4, 3.675e-4])


def test_the_denominators_floor_is_the_configs() -> None:
    assert build_optimizer(nn.Linear(2, 2), OptimConfig(eps=1e-3)).defaults["eps"] == 1e-3
