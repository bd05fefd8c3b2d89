"""MFRNet when modalities are missing: the uniform rule by hand, and rows that do not disturb each other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import UNKNOWN, Batch
from reid.errors import DataError
from reid.modality import CAMERA, Modality, Subset, all_subsets, parse_subset, subset_name
from reid.models.base import ModelContext, ReIDModel
from reid.models.mfrnet.model import Config, Model

MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
HEIGHT, WIDTH = 32, 16
RGB, NIR, TIR = CAMERA
SEVEN = all_subsets(CAMERA)
EIGHT = [*SEVEN, CAMERA]
SERVED_BY = {(NIR, RGB): 0, (TIR, RGB): 0, (RGB, NIR): 0, (TIR, NIR): 1, (RGB, TIR): 1, (NIR, TIR): 1}
SMALL: dict[str, Any] = {"hidden": 24, "router": {"score": "cosine", "dim": 8, "noise": 1.0}}
BYPASS: dict[str, Any] = {"official": {"bypass_single": True}}
RAW: dict[str, Any] = {"official": {"raw_alone": True}}


def mfrnet(modalities: str = CAMERAS, cameras: int = 3, **fields: Any) -> Model:
    """A tiny MFRNet whose modality weights and experts are large enough to be seen."""
    torch.manual_seed(1)
    tower = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
    merged = {**fields, "ffm": {**SMALL, **fields.get("ffm", {})}, "frm": {**SMALL, **fields.get("frm", {})}}
    config = check(Config, {"tower": tower, **merged}, "model")
    model = Model(config, ModelContext(4, cameras, HEIGHT, WIDTH, parse_subset(modalities)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("ffm.weights.") or ".experts." in name:
                parameter.mul_(8)
    return model.eval()


def row(batch: Batch, r: int) -> Batch:
    """One row of a batch, as a batch."""
    mine = {m: index.tolist().index(r) for m, index in batch.index.items() if r in index.tolist()}
    return replace(
        batch,
        pid=batch.pid[r : r + 1],
        present=batch.present[r : r + 1],
        camid=batch.camid[r : r + 1],
        viewid=batch.viewid[r : r + 1],
        images={m: batch.images[m][i : i + 1] for m, i in mine.items()},
        index={m: torch.tensor([0]) for m in mine},
    )


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


def tokens_of(model: Model, batch: Batch) -> tuple[dict[Modality, Tensor], Batch]:
    """What FFM is given."""
    batch = batch.only(model.modalities).completed(model.modalities, HEIGHT, WIDTH)
    tower = model.image_tower
    bias = {m: model.class_bias(batch, [m]) for m in model.modalities}
    return {m: tower.patchify(batch.images[m], bias[m]) for m in model.modalities}, batch


def expected(model: Model, one: dict[Modality, Tensor], target: Modality, raw: bool = False) -> Tensor:
    """X'_M (T, width) of a row with tokens m -> (T, width), by the paper's rule."""
    assert model.ffm is not None
    sources = [s for s in CAMERA if s is not target and s in one]
    if not sources:
        return one[target]
    scores = []
    for s in sources:
        linear = model.ffm.weights[f"{s.value}_to_{target.value}"]
        scores.append((linear.weight[0] * one[s].mean(0)).sum() + linear.bias[0])
    shares = torch.stack(scores) if raw else torch.stack(scores).exp() / torch.stack(scores).exp().sum()
    total = torch.zeros_like(one[sources[0]])
    for share, s in zip(shares, sources, strict=True):
        total = total + share * model.ffm.generators[SERVED_BY[s, target]](one[s][None]).tokens[0]
    return total + model.config.ffm.keep * one[target] if target in one else total


@pytest.mark.parametrize("keep", [0.5, 0.2])
@torch.inference_mode()
def test_each_subset_is_fused_and_completed_by_the_uniform_rule(batch_of: MakeBatch, keep: float) -> None:
    model = mfrnet(ffm={"keep": keep})
    tokens, batch = tokens_of(model, batch_of(SEVEN))
    assert model.ffm is not None
    fused, _ = model.ffm(tokens, batch)
    for r, subset in enumerate(SEVEN):
        one = {m: tokens[m][batch.index[m].tolist().index(r)] for m in subset}
        for target in CAMERA:
            by_hand = expected(model, one, target)
            assert torch.allclose(fused[target][r], by_hand, atol=1e-4), (subset_name(subset), target)
        if len(subset) == 1:
            assert torch.equal(fused[subset[0]][r], one[subset[0]])  # nothing to receive, nothing taken away


@torch.inference_mode()
def test_the_official_raw_weight_is_for_rgb_alone(batch_of: MakeBatch) -> None:
    model = mfrnet(**RAW)
    tokens, batch = tokens_of(model, batch_of(SEVEN))
    assert model.ffm is not None
    fused, _ = model.ffm(tokens, batch)
    for r, subset in enumerate(SEVEN):
        one = {m: tokens[m][batch.index[m].tolist().index(r)] for m in subset}
        for target in CAMERA:
            by_hand = expected(model, one, target, raw=subset == (RGB,) and target is not RGB)
            assert torch.allclose(fused[target][r], by_hand, atol=1e-4), (subset_name(subset), target)
    plain = mfrnet()
    batch = batch_of(SEVEN)
    differs = (embed(model, batch) - embed(plain, batch)).abs().amax(1) > 1e-4
    assert [subset for subset, d in zip(SEVEN, differs.tolist(), strict=True) if d] == [(RGB,)]


@torch.inference_mode()
def test_a_vector_is_the_encoded_fused_tokens_in_one_unit_vector(batch_of: MakeBatch) -> None:
    model = mfrnet()
    tokens, batch = tokens_of(model, batch_of([CAMERAS]))
    one = {m: x[0] for m, x in tokens.items()}
    stacked = torch.stack([expected(model, one, m) for m in CAMERA])
    encoded = model.image_tower.encode(stacked, {1: lambda x: model.frm["1"](x).tokens})
    features = model.image_tower.project(encoded)[:, 0]
    assert torch.allclose(embed(model, batch)[0], F.normalize(features.flatten(), dim=0), atol=1e-5)


@pytest.mark.parametrize(
    "fields", [{}, {"global_local": True}, {"ffm": {"after_block": 1}}, {"heads": "each"}]
)
def test_every_subset_becomes_a_unit_vector_with_all_blocks(
    batch_of: MakeBatch, fields: dict[str, Any]
) -> None:
    model = mfrnet(**fields)
    assert model.supported("query") == SEVEN == model.supported("gallery")
    vectors = embed(model, batch_of(SEVEN))
    assert vectors.shape == (7, model.dim)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(7), atol=1e-6)
    for block in model.feature_blocks.values():
        assert (vectors[:, block].norm(dim=1) > 1e-3).all()
    assert model.completes
    assert model.pairing(parse_subset("nir+tir"), parse_subset("rgb")) == ((NIR, TIR), (RGB,))


@pytest.mark.parametrize("subset", SEVEN[:-1], ids=subset_name)
def test_what_an_absent_modality_would_have_shown_never_matters(batch_of: MakeBatch, subset: Subset) -> None:
    model = mfrnet()
    shown = batch_of([CAMERA] * 2)
    scene = replace(shown, images={m: x if m in subset else 100 * x.flip(0) for m, x in shown.images.items()})
    hidden = embed(model, shown.only(subset))
    assert torch.equal(embed(model, scene.only(subset)), hidden)
    assert not torch.allclose(embed(model, scene), embed(model, shown), atol=1e-3)
    beside = batch_of([subset, CAMERA])  # the other row's picture of it is no substitute either
    assert torch.allclose(embed(model, beside)[0], hidden[0], atol=1e-5)


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets(batch_of: MakeBatch, dispatch: str) -> None:
    model = mfrnet(ffm={"dispatch": dispatch}, frm={"dispatch": dispatch})
    batch = batch_of(EIGHT)
    together = embed(model, batch)
    alone = torch.cat([embed(model, row(batch, r)) for r in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_public_mfrnets_habits_make_a_vector_depend_on_its_batch(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS] * 8)

    def change(model: Model, size: int) -> float:
        few = embed(model, replace_rows(batch, size))
        return float((few - embed(model, batch)[:size]).abs().max())

    assert change(mfrnet(), 1) < 1e-5
    assert change(mfrnet(**BYPASS), 1) > 1e-3
    assert change(mfrnet(**BYPASS), 2) < 1e-5
    assert change(mfrnet(ffm={"capacity": 1.0}), 2) > 1e-3
    assert change(mfrnet(frm={"capacity": 0.5}), 4) > 1e-3


def replace_rows(batch: Batch, size: int) -> Batch:
    """The first rows of a batch of complete rows."""
    return replace(
        batch,
        pid=batch.pid[:size],
        present=batch.present[:size],
        camid=batch.camid[:size],
        viewid=batch.viewid[:size],
        images={m: x[:size] for m, x in batch.images.items()},
        index={m: x[:size] for m, x in batch.index.items()},
    )


def test_a_bypassed_row_is_the_plain_tower_and_leaves_zeros_for_what_is_missing(batch_of: MakeBatch) -> None:
    model = mfrnet(**BYPASS)
    for subset in SEVEN:
        batch = batch_of([subset])
        vector = embed(model, batch)[0]
        plain = [
            model.image_tower.class_feature(batch.images[m], model.class_bias(batch, [m]))[0]
            if m in subset
            else torch.zeros(16)
            for m in CAMERA
        ]
        assert torch.allclose(vector, F.normalize(torch.cat(plain), dim=0), atol=1e-5), subset_name(subset)


def test_public_capacity_is_for_each_of_the_six_generations(batch_of: MakeBatch) -> None:
    """Tokens of one direction do not push those of another out."""
    model = mfrnet(ffm={"capacity": 1.0})
    tokens, batch = tokens_of(model, batch_of([CAMERAS] * 2))
    assert model.ffm is not None
    with torch.no_grad():
        _, used = model.ffm(tokens, batch)
        for i, sources in enumerate(((NIR, TIR, RGB), (TIR, RGB, NIR))):
            for call, source in zip(used[i].calls, sources, strict=True):
                own = model.ffm.generators[i](tokens[source]).routing
                assert torch.equal(used[i].result.routing.chosen[call], own.chosen)
                assert int(own.chosen.sum(0).max()) <= 6  # ceil(18 tokens / 3 experts)


def test_without_ffm_a_missing_block_is_zero_and_training_needs_every_modality(batch_of: MakeBatch) -> None:
    model = mfrnet(ffm={"enabled": False})
    assert not model.completes
    for subset in SEVEN:  # alone: no entry at all of what is missing
        vector = embed(model, batch_of([subset]))[0]
        assert [bool(vector[b].any()) for b in model.feature_blocks.values()] == [m in subset for m in CAMERA]
        assert float(vector.norm()) == pytest.approx(1, abs=1e-6)
    batch = batch_of(EIGHT)
    alone = torch.cat([embed(model, row(batch, r)) for r in range(8)])
    assert torch.allclose(embed(model, batch), alone, atol=1e-5)
    with pytest.raises(DataError, match="Every row needs tir"):
        model.train()(batch_of([CAMERAS, "rgb+nir"], pids=[0, 1]))


def test_completion_left_out_compares_the_common_modalities_only(batch_of: MakeBatch) -> None:
    """What is there is fused as ever; the block of what is missing is zero instead of a guess."""
    model, whole = mfrnet(completion="leave_out"), mfrnet()
    assert not model.completes and whole.completes
    assert model.pairing([RGB, NIR], [NIR, TIR]) == ((NIR,), (NIR,))
    batch = batch_of(EIGHT)
    many = model.embed_many(batch_of([CAMERAS] * 2), SEVEN, "query")
    for r, subset in enumerate(EIGHT):
        vector, completed = embed(model, batch)[r], embed(whole, batch)[r]
        for modality, block in zip(CAMERA, model.feature_blocks.values(), strict=True):
            expected = F.normalize(completed[block], dim=0) if modality in subset else torch.zeros(16)
            found = F.normalize(vector[block], dim=0)
            assert torch.allclose(found, expected, atol=1e-5), (subset_name(subset), modality)
    for subset, vectors in many.items():
        alone = embed(model, batch_of([CAMERAS] * 2).only(subset))
        assert torch.allclose(vectors, alone, atol=1e-5), subset_name(subset)


def test_a_row_without_any_of_the_models_modalities_is_refused(batch_of: MakeBatch) -> None:
    model = mfrnet("rgb+nir")
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+nir\)"):
        embed(model, batch_of(["rgb", "tir"]))
    assert torch.equal(embed(model, batch_of(["rgb+tir"])), embed(model, batch_of(["rgb"])))


def test_an_unknown_camera_counts_as_the_mean_one_and_is_told_once(
    batch_of: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = mfrnet()
    camera = model.get_parameter("class_bias.camera")
    with torch.no_grad():
        camera.mul_(50)
    first, second = (embed(model, batch_of([CAMERAS], camera=c)) for c in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        unknown = [embed(model, batch_of([CAMERAS], camera=c)) for c in (UNKNOWN, 99, UNKNOWN)]
    assert [
        r.getMessage() for r in caplog.records if "camera that training did not know" in r.getMessage()
    ] == ["A camera that training did not know: its embedding is the mean of the learned ones."]
    assert torch.equal(unknown[0], unknown[1])
    with torch.no_grad():
        camera.copy_(camera.mean(0).expand_as(camera).clone())
    assert torch.allclose(embed(model, batch_of([CAMERAS], camera=0)), unknown[0], atol=1e-5)
    assert "camera" not in dict(mfrnet(camera_embedding=False).class_bias.named_parameters())
