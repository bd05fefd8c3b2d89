"""MFRNet: its losses, where its mixtures act, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.errors import ConfigError
from reid.modality import Modality, parse_subset
from reid.models.base import ModelContext, Output, ReIDModel
from reid.models.mfrnet.model import Config, Model
from reid.models.registry import model_names
from reid.nn.moe.layer import MixtureOutput
from reid.nn.parameters import parameter_counts

MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
HEIGHT, WIDTH, TOKENS = 32, 16, 9
FFM: dict[str, Any] = {"hidden": 24, "dropout": 0.0, "router": {"score": "cosine", "noise": 1.0, "dim": 8}}
FRM = {**FFM, "hidden": 12, "router": {**FFM["router"], "init": "normal"}}
TOWER = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
OFFICIAL: dict[str, Any] = {
    "ffm": {"shared": True, "capacity": 1.0},
    "frm": {"shared": True, "capacity": 1.0},
    "balance": {"ffm_calls": "last", "ffm_factor": 12.0},
    "official": {"bypass_single": True, "raw_alone": True},
}


def mfrnet(modalities: str = CAMERAS, cameras: int = 3, **fields: Any) -> Model:
    """A tiny MFRNet; `ffm` and `frm` are merged into small sizes."""
    torch.manual_seed(1)
    merged = {**fields, "ffm": {**FFM, **fields.get("ffm", {})}, "frm": {**FRM, **fields.get("frm", {})}}
    config = check(Config, {"tower": TOWER, **merged}, "model")
    return Model(config, ModelContext(4, cameras, HEIGHT, WIDTH, parse_subset(modalities))).eval()


def routed(model: Model) -> dict[str, MixtureOutput]:
    """What every mixture will say when the model next runs."""
    heard: dict[str, MixtureOutput] = {}
    generators = [] if model.ffm is None else list(model.ffm.generators)
    named = {
        **{f"ffm{i}": g for i, g in enumerate(generators)},
        **{f"frm{n}": m for n, m in model.frm.items()},
    }
    for name, moe in named.items():
        moe.register_forward_hook(lambda _, __, out, n=name: heard.__setitem__(n, out))
    return heard


def total(output: Output) -> Tensor:
    return torch.stack(list(output.losses.values())).sum()


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


def test_mfrnet_is_a_registered_model() -> None:
    assert "mfrnet" in model_names()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"heads": "each"},
        {"global_local": True, "modality_embedding": True},
        {"ffm": {"after_block": 1}, "frm": {"layers": [0, 1]}},
        {"ffm": {"experts": 1}, "frm": {"experts": 1}},
        {"ffm": {"enabled": False}},
        {"frm": {"enabled": False}},
        OFFICIAL,
    ],
)
def test_gradients_reach_every_trainable_parameter(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = mfrnet(**fields).train()
    batch = batch_of([CAMERAS] * 8, pids=[0, 0, 1, 1, 2, 2, 3, 3])
    batch.camid[:, :3] = torch.arange(24).reshape(8, 3) % 3
    total(model(batch)).backward()
    silent = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    single = fields.get("ffm", {}).get("experts") == 1  # nothing to choose: the routers have nothing to learn
    assert [n for n in silent if not (single and ".router." in n)] == []
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("subset", ["rgb", "nir+tir"])
def test_a_batch_without_a_modality_still_reaches_every_parameter(batch_of: MakeBatch, subset: str) -> None:
    model = mfrnet().train()
    total(model(batch_of([subset] * 4, pids=[0, 0, 1, 1]))).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_under_autocast_losses_and_gradients_are_finite_and_vectors_float32(batch_of: MakeBatch) -> None:
    model = mfrnet().train()
    batch = batch_of([CAMERAS, "rgb", "rgb+tir", "nir"], pids=[0, 0, 1, 1])
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
        vectors = embed(model.eval(), batch)
    assert {loss.dtype for loss in output.losses.values()} == {torch.float32}
    total(output).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors, embed(model, batch), atol=0.05)


@pytest.mark.parametrize("heads", ["joint", "each"])
def test_heads_are_on_all_modalities_or_one_on_each(batch_of: MakeBatch, heads: str) -> None:
    model = mfrnet(heads=heads).train()
    output = model(batch_of([CAMERAS] * 4, pids=[0, 0, 1, 1]))
    kinds = ["id", "triplet"]
    names = kinds if heads == "joint" else [f"{k}_{m}" for k in kinds for m in ("rgb", "nir", "tir")]
    assert set(output.losses) == {*names, "balance"}
    assert output.features.shape == (4, model.dim) == (4, 48)
    sizes = {n: p.shape[1] for n, p in model.heads.named_parameters() if n.endswith("classifier.weight")}
    assert set(sizes.values()) == {48 if heads == "joint" else 16}


def test_each_head_sees_its_modalitys_block(batch_of: MakeBatch) -> None:
    model = mfrnet(heads="each").train()
    seen: dict[str, Tensor] = {}
    for name, head in model.heads.items():
        head.norm.register_forward_pre_hook(lambda _, args, n=name: seen.setdefault(n, args[0].detach()))
    output = model(batch_of([CAMERAS] * 4, pids=[0, 0, 1, 1]))
    for name, block in model.feature_blocks.items():
        assert torch.equal(seen[name], output.features[:, block])


def by_hand(mixed: MixtureOutput, rows: slice) -> Tensor:
    """Half of CV^2(importance) + CV^2(load) of some tokens of a call, written out."""
    routing = mixed.routing
    q, e = routing.logits[rows].softmax(1), routing.logits.shape[1]
    last = routing.noisy[rows].amax(1, keepdim=True)
    load = 0.5 * (1 + torch.erf((q - last) * e / math.sqrt(2)))
    terms = [t.var() / (t.mean() ** 2 + 1e-10) for t in (q.sum(0), load.sum(0))]
    return 0.5 * (terms[0] + terms[1])


@pytest.mark.parametrize("fields", [{}, OFFICIAL, {"balance": {"ffm_factor": 3.0, "weight": 0.5}}])
def test_the_balance_loss_is_the_sum_over_mixtures(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = mfrnet(**fields).train()
    heard = routed(model)
    loss = model(batch_of([CAMERAS] * 4, pids=[0, 0, 1, 1])).losses["balance"]
    assert set(heard) == {"ffm0", "ffm1", "frm1"}
    calls = [slice(i * 4 * TOKENS, (i + 1) * 4 * TOKENS) for i in range(3)]
    generators = [[by_hand(heard[n], call) for call in calls] for n in ("ffm0", "ffm1")]
    refiner = by_hand(heard["frm1"], slice(None))
    if fields is OFFICIAL:
        expected = 0.01 * (12 * (generators[0][2] + generators[1][2]) + refiner)
    else:
        weight, factor = (0.5, 3.0) if fields else (0.01, 1.0)
        expected = weight * (factor * sum(torch.stack(g).mean() for g in generators) + refiner)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert "balance" not in mfrnet(balance={"weight": 0}).train()(batch_of([CAMERAS] * 2, [0, 0])).losses


def test_statistics_tell_how_each_mixture_used_its_experts(batch_of: MakeBatch) -> None:
    model = mfrnet().train()
    heard = routed(model)
    stats = model(batch_of([CAMERAS, CAMERAS, "rgb", "rgb+nir"], pids=[0, 0, 1, 1])).stats
    order = {"ffm0": "nir 3 tir 2 rgb 4", "ffm1": "tir 2 rgb 4 nir 3", "frm1": "rgb 4 nir 4 tir 4"}
    for name, sent in order.items():  # sources and how many rows have them; FRM's are completed
        sources, counts = sent.split()[::2], [int(n) for n in sent.split()[1::2]]
        parts = heard[name].routing.chosen.split([n * TOKENS for n in counts])
        experts = heard[name].routing.experts
        for source, chosen in zip(sources, parts, strict=True):
            told = [int(stats[f"{name}/tokens/{source}/{e}"]) for e in range(experts)]
            assert told == chosen.sum(0).tolist()
        assert sum(float(stats[f"{name}/load/{e}"]) for e in range(experts)) == pytest.approx(1)


def test_pruning_changes_no_vector(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS, "rgb", "nir+tir"])
    ways: list[dict[str, Any]] = [{}, OFFICIAL, {"global_local": True}, {"frm": {"layers": [0, 1]}}]
    for fields in ways:
        model = mfrnet(**fields)
        pruned = embed(model, batch)
        model.prune = False
        assert torch.allclose(embed(model, batch), pruned, atol=1e-6), fields


def test_only_prunable_models_route_class_tokens_alone(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS] * 2)
    for fields, tokens in (
        ({}, 6),
        ({"frm": {"capacity": 1.0}}, 6 * TOKENS),
        ({"global_local": True}, 6 * TOKENS),
    ):
        model = mfrnet(**fields)
        heard = routed(model)
        embed(model, batch)
        assert len(heard["frm1"].routing.logits) == tokens


def test_frm_replaces_the_ffn_of_the_listed_blocks_and_no_other() -> None:
    def ffns(model: Model) -> list[bool]:
        return [any(True for _ in b.get_submodule("mlp").parameters()) for b in model.image_tower.blocks]

    assert ffns(mfrnet()) == [True, False]
    assert ffns(mfrnet(frm={"layers": [0, 1]})) == [False, False]
    assert mfrnet(frm={"layers": [1, 0, -1]}).frm_layers == [0, 1]
    assert ffns(mfrnet(frm={"layers": [0]})) == [False, True]
    assert ffns(mfrnet(frm={"enabled": False})) == [True, True]


@pytest.mark.parametrize("after", [0, 1])
@torch.inference_mode()
def test_ffm_acts_before_the_encoder_or_after_some_of_its_blocks(batch_of: MakeBatch, after: int) -> None:
    model = mfrnet(ffm={"after_block": after})
    batch, visual = batch_of([CAMERAS] * 2), model.image_tower.visual

    def block(i: int, tokens: Tensor) -> Tensor:
        part = visual.transformer.resblocks[i]
        normed = part.ln_1(tokens)
        tokens = tokens + part.attn(normed, normed, normed, need_weights=False)[0]
        normed = part.ln_2(tokens)
        return tokens + (part.mlp(normed) if i == 0 else model.frm["1"](normed).tokens)

    def fused(tokens: Tensor) -> Tensor:
        assert model.ffm is not None
        made, _ = model.ffm(dict(zip(model.modalities, tokens.split(2), strict=True)), batch)
        return torch.cat(list(made.values()))

    tokens = model.image_tower.patchify(
        torch.cat([batch.images[m] for m in model.modalities]), model.class_bias(batch, model.modalities)
    )
    tokens = visual.ln_pre(fused(tokens) if after == 0 else tokens)
    tokens = block(0, tokens)
    tokens = block(1, fused(tokens) if after == 1 else tokens)
    features = model.image_tower.project(tokens)[:, 0]
    by_hand = F.normalize(torch.cat(features.split(2), dim=1), dim=1)
    assert torch.allclose(embed(model, batch), by_hand, atol=1e-5)


@torch.inference_mode()
def test_global_local_reduces_the_class_token_and_the_mean_patch(batch_of: MakeBatch) -> None:
    model = mfrnet(global_local=True)
    assert model.reduce is not None
    seen: dict[str, Tensor] = {}
    for name, part in model.reduce.items():
        part.register_forward_pre_hook(lambda _, args, n=name: seen.setdefault(n, args[0]))
    vectors = embed(model, batch_of([CAMERAS] * 2))
    features = []
    for name, part in model.reduce.items():
        both = torch.cat([seen[name][:, 0], seen[name][:, 1:].sum(1) / (TOKENS - 1)], dim=1)
        normed = (both - both.mean(1, keepdim=True)) / (
            both.var(1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()
        reduced = part.linear(normed)
        features.append(reduced * torch.sigmoid(1.702 * reduced))
    assert torch.allclose(vectors, F.normalize(torch.cat(features, dim=1), dim=1), atol=1e-5)


def test_public_mfrnets_spare_ffn_is_kept_without_being_trained_or_counted(batch_of: MakeBatch) -> None:
    model = mfrnet(official={"bypass_single": True})
    names = {n for n in model.state_dict() if "resblocks.1.mlp" in n}
    assert len(names) == 4
    assert not names & {n for n, _ in model.named_parameters()}
    assert parameter_counts(model)["total"] == parameter_counts(mfrnet())["total"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ffm": {"keep": 1.5}}, r"model\.ffm\.keep"),
        ({"ffm": {"keep": -0.1}}, r"model\.ffm\.keep"),
        ({"frm": {"layers": [2]}}, r"model\.frm\.layers: there is no block 2; the tower has 2"),
        ({"frm": {"layers": [-3]}}, r"model\.frm\.layers: there is no block -3"),
        ({"ffm": {"after_block": 2}}, r"model\.ffm\.after_block: 2 of 2 blocks; use 0 to 1"),
        ({"ffm": {"router": {"top_k": 4}}}, r"model\.ffm: router\.top_k = 4 of 3 experts"),
        ({"ffm": {"capacity": 0}}, r"model\.ffm\.capacity"),
        ({"heads": "both"}, r"model\.heads"),
        ({"modalities": "rgb"}, r"data\.modalities: mfrnet fuses two or more.*got rgb"),
        ({"modalities": "rgb+nir+text"}, r"takes no text; got rgb\+nir\+text"),
        ({"tower": {**TOWER, "patch": 12}}, r"32x16 is no multiple of the tower's patch of 12"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mfrnet(**fields)


def test_two_cameras_or_a_sketch_are_modalities_too(batch_of: MakeBatch) -> None:
    for modalities in ("rgb+nir", "rgb+tir+sketch", "rgb+nir+tir+sketch"):
        model = mfrnet(modalities).train()
        total(model(batch_of([modalities] * 4, pids=[0, 0, 1, 1]))).backward()
        assert list(model.feature_blocks) == modalities.split("+")
        assert model.query_modalities == frozenset(map(Modality, modalities.split("+")))
        assert embed(model.eval(), batch_of(["rgb"])).shape == (1, model.dim)
