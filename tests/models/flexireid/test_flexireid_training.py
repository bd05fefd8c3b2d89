"""What FlexiReID learns from: a loss for each of seven queries, entropy, and towers that never move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.modality import Modality, all_subsets, parse_subset, subset_name
from reid.models.base import ModelContext, Output
from reid.models.flexireid.adaptive_loss import RouterTotals
from reid.models.flexireid.model import Config, Model
from reid.nn.losses.sdm import sdm
from reid.nn.towers.clip import ImageTower

MakeBatch = Callable[..., Batch]
ALL = "rgb+nir+sketch+text"
SEVEN = [s for s in all_subsets(parse_subset(ALL)) if Modality.RGB not in s]
NAMES = {f"sdm_{subset_name(s)}" for s in SEVEN}
TINY: dict[str, Any] = {
    "tower": {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16},
    "text": {"width": 16, "layers": 2, "heads": 1, "vocab": 64, "context": 12},
}


def flexireid(modalities: str = ALL, **fields: Any) -> Model:
    """A tiny FlexiReID in training mode; `moe` is merged into live adapters."""
    torch.manual_seed(1)
    moe = {"hidden": 8, "init": "conv", "scale": 1.0, **fields.pop("moe", {})}
    config = check(Config, {**TINY, "moe": moe, **fields}, "model")
    return Model(config, ModelContext(6, 3, 32, 16, parse_subset(modalities))).train()


def total(output: Output) -> Tensor:
    return torch.stack(list(output.losses.values())).sum()


def values(output: Output) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in output.losses.items()}


def test_each_of_the_seven_queries_has_a_loss_and_the_routers_one(batch_of: MakeBatch) -> None:
    output = flexireid()(batch_of([ALL] * 4, pids=[0, 1, 2, 3]))
    assert set(output.losses) == NAMES | {"ada"}
    assert all(torch.isfinite(x) and x.ndim == 0 and x > 0 for x in output.losses.values())
    assert output.features.shape == (4, 16)


def test_the_losses_compare_the_photo_with_what_each_query_embeds_to(batch_of: MakeBatch) -> None:
    """Of the vectors that retrieval compares, with the paper's sum and scale."""
    model, batch = flexireid(sdm_scale=30), batch_of([ALL] * 5, pids=[0, 1, 1, 2, 3])
    found = values(model(batch))
    with torch.no_grad():
        vectors = model.eval().embed_many(batch, [parse_subset("rgb"), *SEVEN], "query")
    photo = vectors[parse_subset("rgb")]
    for subset in SEVEN:
        expected = float(sdm(photo, vectors[subset], batch.pid, 30))
        assert found[f"sdm_{subset_name(subset)}"] == pytest.approx(expected, rel=1e-4)
    _, uses = model._encode(batch, prune=False)
    assert found["ada"] == pytest.approx(0.5 * float(RouterTotals.of(uses).loss("mean").detach()), rel=1e-5)


def test_losses_are_weighted_and_optional_ones_are_off(batch_of: MakeBatch) -> None:
    batch = batch_of([ALL] * 4, pids=[0, 1, 2, 3])
    plain = values(flexireid()(batch))
    changed = flexireid(
        mode_reduction="mean", ada_weight=0.1, ada_reduction="sum_layers", balance_weight=1.0, id_weight=0.3
    )
    found = values(changed(batch))
    assert found.keys() - plain.keys() == {"balance", "id"}
    for name in NAMES:
        assert found[name] == pytest.approx(plain[name] / 7, rel=1e-4)
    assert found["ada"] == pytest.approx(2 * plain["ada"] / 5, rel=1e-4)  # two layers a tower
    assert found["id"] == pytest.approx(0.3 * 1.79, abs=0.01)  # ln 6 at the start


def test_a_row_counts_for_the_queries_that_it_can_ask(batch_of: MakeBatch) -> None:
    """Besides, it needs a photo. What nobody can ask has no loss."""
    subsets = [ALL, "rgb+text", "rgb+nir+text", "nir+text", "rgb", ALL]
    model, batch = flexireid(), batch_of(subsets, pids=[0, 1, 2, 3, 4, 5])
    found = values(model(batch))
    askers = {"nir": [0, 2, 5], "text": [0, 1, 2, 5], "nir+text": [0, 2, 5], "sketch": [0, 5]}
    pictures = batch.only([Modality.RGB])
    with torch.no_grad():
        streams, _ = model.eval()._encode(pictures, prune=True)
        photo = streams[Modality.RGB].spread(streams[Modality.RGB].whole, len(batch))
        streams, _ = model._encode(batch, prune=True)
        grid = model._fused(streams, model._available_queries(batch))
    for name, rows in askers.items():
        mode = model.modes.index(parse_subset(name))
        expected = float(sdm(photo[rows], grid[rows, mode], batch.pid[rows]))
        assert found[f"sdm_{name}"] == pytest.approx(expected, rel=1e-3), name
    text_only = values(flexireid()(batch_of(["rgb+text"] * 3, pids=[0, 1, 2])))
    assert {n for n, v in text_only.items() if v == 0} == NAMES - {"sdm_text"}
    without_photo = values(flexireid()(batch_of(["nir+text"] * 3, pids=[0, 1, 2])))
    assert {n for n, v in without_photo.items() if v != 0} == {"ada"}


FROZEN = ("image_tower.", "text_tower.")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"unfreeze_ln": True},
        {"unfreeze_proj": True},
        {"freeze_backbone": False},
        {"moe": {"init": "adapter", "learn_scale": True}, "fusion": {"tokens": "resampled"}},
        {"moe": {"place": "replace", "unit": "sample_mean"}, "fusion": {"lef_scope": "per_mode"}},
        {"moe": {"router": "topk"}, "fusion": {"kind": "concat"}},
        {"moe": {"router": "hash"}, "fusion": {"kind": "hierarchical"}},
        {"moe": {"enabled": False}, "fusion": {"lef": "zeros"}, "id_weight": 1.0},
    ],
)
@pytest.mark.parametrize("subsets", [[ALL] * 4, [ALL, "rgb+nir+text", "rgb+sketch", "text"]])
def test_gradients_reach_all_that_is_trained_and_nothing_frozen_moves(
    batch_of: MakeBatch, fields: dict[str, Any], subsets: list[str]
) -> None:
    model = flexireid(**fields)
    before = {n: x.clone() for n, x in model.state_dict().items()}
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    norms = {n for n in before if n.startswith(FROZEN) and ".ln_" in n}
    projections = {"image_tower.visual.proj", "text_tower.text.text_projection"}
    expected = {n for n in dict(model.named_parameters()) if not n.startswith(FROZEN)} - {"head.norm.bias"}
    if fields.get("unfreeze_ln"):
        expected |= norms
    if fields.get("unfreeze_proj"):
        expected |= projections
    if fields.get("freeze_backbone") is False:
        expected |= {n for n, _ in model.named_parameters() if n.startswith(FROZEN)}
    assert trained == expected
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        total(model(batch_of(subsets, pids=[0, 1, 2, 3]))).backward()
        assert {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None} == set()
        assert all(p.grad is None for n, p in model.named_parameters() if n not in trained)
        optimizer.step()
    for name, tensor in model.state_dict().items():
        if name in trained:
            assert not torch.equal(tensor, before[name]) or "attention.in_proj_bias" in name, name
        elif not name.startswith("head.norm"):
            assert torch.equal(tensor, before[name]), name  # to the bit


def test_every_picture_is_encoded_once_for_all_queries(
    batch_of: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    patchify = ImageTower.patchify

    def counting(self: ImageTower, images: Tensor, class_bias: Tensor | None = None) -> Tensor:
        seen.append(len(images))
        return patchify(self, images, class_bias)

    monkeypatch.setattr(ImageTower, "patchify", counting)
    flexireid()(batch_of([ALL, ALL, "rgb+text"], pids=[0, 1, 2]))
    assert seen == [7]


def test_half_precision_losses_are_float32_and_near(batch_of: MakeBatch) -> None:
    """Within 5 %: the scale of 50 makes much of bf16's rounding."""
    batch = batch_of([ALL] * 4, pids=[0, 1, 2, 3])
    exact = values(flexireid()(batch))
    model = flexireid()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    total(output).backward()
    assert {x.dtype for x in output.losses.values()} == {torch.float32}
    for name, value in values(output).items():
        assert value == pytest.approx(exact[name], rel=0.05, abs=0.02), name
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_what_routers_do_is_told(batch_of: MakeBatch) -> None:
    stats = flexireid()(batch_of([ALL] * 3, pids=[0, 1, 2])).stats
    streams = {f"{k}/{m}" for k in ("experts", "entropy") for m in ("rgb", "nir", "sketch", "text")}
    towers = {f"{t}/load/{e}" for t in ("image", "text") for e in range(6)}
    layers = {f"{t}{i}/experts" for t in ("image", "text") for i in range(2)}
    assert set(stats) == streams | towers | layers | {"image/dead", "text/dead"}
    assert sum(float(stats[f"image/load/{e}"]) for e in range(6)) == pytest.approx(1)
    assert 1 <= float(stats["experts/nir"]) <= 6
    assert all(not torch.as_tensor(x).requires_grad for x in stats.values())
    assert flexireid(moe={"enabled": False})(batch_of([ALL] * 2, pids=[0, 1])).stats == {}


def test_the_words_behind_the_end_token_do_not_count(batch_of: MakeBatch) -> None:
    batch = batch_of([ALL] * 3, pids=[0, 1, 2])
    first = values(flexireid()(batch))
    assert batch.tokens is not None
    ends = batch.tokens.argmax(1)
    behind = torch.arange(batch.tokens.shape[1]) > ends[:, None]
    batch.tokens[behind] = 5
    second = values(flexireid()(batch))
    assert first == pytest.approx(second, rel=1e-5)


@pytest.mark.parametrize("fields", [{}, {"freeze_backbone": False, "id_weight": 1.0}])
def test_one_batch_is_learned_in_forty_steps(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = flexireid(moe={"init": "adapter", "scale": 0.1}, **fields)
    batch = batch_of([ALL] * 6, pids=[0, 1, 2, 3, 4, 5])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(40):
        output = model(batch)
        optimizer.zero_grad()
        total(output).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        history.append(values(output))
    for name in NAMES:
        assert history[-1][name] < 0.7 * history[0][name], name
    assert history[-1]["ada"] < history[0]["ada"]
