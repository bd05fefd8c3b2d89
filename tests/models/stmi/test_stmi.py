"""STMI's vectors: any subset of modalities, with and without captions and masks, alone or among others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.comparison.regimes import Regime
from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.errors import ConfigError, DataError, UnsupportedPairing
from reid.modality import CAMERA, Modality, Subset, all_subsets, parse_subset
from reid.models.base import Auxiliary, ReIDModel
from reid.models.registry import model_names
from reid.models.stmi.hypergraph import Kind
from reid.runs.describe import gmac
from tests.support.models.tiny_stmi import CAMERAS, DIM, HEIGHT, TINY, WIDTH, stmi, with_auxiliaries

Make = Callable[..., ReIDModel]
MakeBatch = Callable[..., Batch]
SEVEN = all_subsets(CAMERA)


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


@pytest.fixture
def one_of(batch_of: MakeBatch) -> Callable[..., Batch]:
    """A single row of a subset, of its own pictures, caption and mask."""

    def build(subset: Subset, caption: bool = True, mask: bool = True) -> Batch:
        number = sum(1 << CAMERA.index(m) for m in subset)
        return with_auxiliaries(batch_of([subset], seed=number), caption, mask, seed=number)

    return build


def test_stmi_is_a_registered_matched_model_with_auxiliary_inputs() -> None:
    assert "stmi" in model_names()
    model = stmi()
    assert model.regime is Regime.MATCHED
    assert model.auxiliary == frozenset({Auxiliary.CAPTION, Auxiliary.MASK})
    off = {"enabled": False}
    assert stmi(sfm=off).auxiliary == frozenset({Auxiliary.CAPTION})
    assert stmi(semantic=off).auxiliary == frozenset({Auxiliary.MASK})
    assert stmi(sfm=off, semantic=off).auxiliary == frozenset()


def test_every_subset_becomes_a_unit_vector_with_zeros_where_a_modality_is_missing(
    batch_of: MakeBatch,
) -> None:
    model = stmi(retrieval="GU")
    assert list(model.feature_blocks) == ["g_rgb", "g_nir", "g_tir", "u_rgb", "u_nir", "u_tir"]
    assert [b.start for b in model.feature_blocks.values()] == list(range(0, 6 * DIM, DIM))
    assert model.supported("gallery") == SEVEN
    vectors = embed(model, with_auxiliaries(batch_of(SEVEN)))
    assert (vectors.shape, vectors.dtype) == ((7, model.dim), torch.float32)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(7), atol=1e-6)
    for subset, vector in zip(SEVEN, vectors, strict=True):
        for name, block in model.feature_blocks.items():
            assert bool(vector[block].any()) == (name[2:] in subset), subset


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"chi": {"tau_mode": "quantile", "layers": 2}},
        {"chi": {"kind": "attention"}},
        {"chi": {"kind": "graph"}, "share_backbone": False},
        {"chi": {"kind": "none"}, "semantic": {"shared": True}, "sfm": {"per_modality": True}},
        {"retrieval": "G"},
    ],
)
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets_and_inputs(
    one_of: Callable[..., Batch], fields: dict[str, Any]
) -> None:
    model = stmi(**fields)
    singles = [one_of(s, caption=i % 3 > 0, mask=i % 2 > 0) for i, s in enumerate([*SEVEN, SEVEN[-1]])]
    together = embed(model, join(singles))
    alone = torch.cat([embed(model, single) for single in singles])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("fields", [{}, {"retrieval": "GU", "share_backbone": False}, {"retrieval": "G"}])
def test_all_subsets_of_one_pass_are_those_of_a_pass_each(
    batch_of: MakeBatch, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stmi(**fields)
    batch = with_auxiliaries(batch_of([CAMERAS] * 3), captions=[True, False, True])
    with torch.inference_mode():
        each = {s: model.embed(batch.only(s), "gallery") for s in SEVEN}
        calls: list[int] = []
        encode = model._encode
        monkeypatch.setattr(model, "_encode", lambda *a: calls.append(1) or encode(*a))
        found = model.embed_many(batch, SEVEN, "gallery")
    assert len(calls) == 1
    assert set(found) == set(SEVEN)
    for subset, vectors in found.items():
        assert torch.allclose(vectors, each[subset], atol=1e-6), subset


def test_mixed_rows_and_some_subsets_share_a_pass_too(batch_of: MakeBatch) -> None:
    model = stmi()
    batch = with_auxiliaries(batch_of([CAMERAS, "rgb+nir", "rgb"]))
    asked = [parse_subset("rgb"), parse_subset("rgb+tir")]
    with torch.inference_mode():
        found = model.embed_many(batch, asked, "query")
        for subset in asked:
            assert torch.allclose(found[subset], model.embed(batch.only(subset), "query"), atol=1e-6)
        with pytest.raises(DataError, match="Row 1 has none of this model's modalities"):
            model.embed_many(batch, [parse_subset("tir")], "query")


def test_vectors_do_not_depend_on_an_absent_image(batch_of: MakeBatch) -> None:
    model = stmi()
    without = with_auxiliaries(join([batch_of(["rgb+tir"]), batch_of([CAMERAS], seed=6)]))
    nir = without.images[Modality.NIR]
    changed = replace(without, images={**without.images, Modality.NIR: 3 - nir})
    assert torch.equal(embed(model, without)[0], embed(model, changed)[0])
    assert not torch.allclose(embed(model, without)[1], embed(model, changed)[1], atol=1e-3)


@pytest.mark.parametrize("subset", ["rgb+nir", "tir"])
def test_with_a_modality_missing_the_rest_is_an_stmi_that_never_knew_it(
    batch_of: MakeBatch, subset: str
) -> None:
    """Nodes, hyperedges and blocks of an absent modality are no part of it."""
    three = stmi()
    few = stmi(subset)
    state = three.state_dict()
    kept = [CAMERA.index(m) for m in parse_subset(subset)]
    nodes = [5 * m + i for m in kept for i in range(5)]
    state["semantic.queries"] = state["semantic.queries"][kept]
    for name in ("chi.layers.0.edge_weight", "chi.layers.0.node_bias"):
        state[name] = state[name][nodes]
    few.load_state_dict({k: v for k, v in state.items() if "heads." not in k}, strict=False)
    batch = with_auxiliaries(batch_of([subset] * 3))
    found, expected = embed(three, batch), embed(few, batch)
    for name, block in few.feature_blocks.items():
        assert torch.allclose(found[:, three.feature_blocks[name]], expected[:, block], atol=1e-6), name


@pytest.mark.parametrize("what", ["caption", "mask"])
def test_captions_and_masks_change_the_vector_and_their_absence_is_its_own_input(
    batch_of: MakeBatch, what: str
) -> None:
    model, batch = stmi(), batch_of([CAMERAS] * 2)
    one, two = with_auxiliaries(batch, seed=1), with_auxiliaries(batch, seed=2)
    other = replace(one, **{what: getattr(two, what)})
    lacking = with_auxiliaries(batch, captions=what != "caption", masks=what != "mask", seed=1)
    missing = replace(one, **{what: None, f"{what}_present": None})
    base = embed(model, one)
    for changed in (other, lacking):
        assert not torch.allclose(embed(model, changed), base, atol=1e-4)
    assert torch.allclose(embed(model, lacking), embed(model, missing), atol=1e-6)


def test_a_model_that_reads_no_captions_has_the_vectors_of_rows_without_one(
    batch_of: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    reads, never = stmi(), stmi(captions=False)
    never.load_state_dict(reads.state_dict())
    assert (reads.auxiliary, never.auxiliary) == ({Auxiliary.CAPTION, Auxiliary.MASK}, {Auxiliary.MASK})
    batch = with_auxiliaries(batch_of([CAMERAS] * 2))
    with caplog.at_level(logging.WARNING, "reid.models.stmi.model"):
        found = embed(never, batch)
    assert not caplog.records, "what was asked for is no reason to warn"
    without = replace(batch, caption=None, caption_present=None)
    assert torch.allclose(found, embed(reads, without), atol=1e-6)


@pytest.mark.parametrize("filled", [0.0, 1.0])
def test_an_empty_or_full_mask_is_no_mask(batch_of: MakeBatch, filled: float) -> None:
    model, batch = stmi(), with_auxiliaries(batch_of([CAMERAS] * 2))
    assert batch.mask is not None
    useless = replace(batch, mask=torch.full_like(batch.mask, filled))
    none = replace(batch, mask=None, mask_present=None)
    assert torch.allclose(embed(model, useless), embed(model, none), atol=1e-6)


def test_hiding_modalities_keeps_the_auxiliary_inputs(batch_of: MakeBatch) -> None:
    model, batch = stmi(), with_auxiliaries(batch_of([CAMERAS] * 2))
    hidden = batch.only([Modality.RGB])
    assert hidden.caption is batch.caption and hidden.mask is batch.mask
    bare = with_auxiliaries(batch_of([CAMERAS] * 2), captions=False, masks=False).only([Modality.RGB])
    assert not torch.allclose(embed(model, hidden), embed(model, bare), atol=1e-4)


def test_data_without_captions_and_masks_are_embedded_with_one_warning_for_each(
    batch_of: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = stmi()
    with caplog.at_level(logging.WARNING, "reid.models.stmi.model"):
        for seed in range(3):
            assert torch.isfinite(embed(model, batch_of([CAMERAS, "nir"], seed=seed))).all()
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 2
    assert "without any mask" in told[0] and "without any caption" in told[1]


def test_without_its_modules_stmi_is_the_concatenating_baseline(make: Make, batch_of: MakeBatch) -> None:
    off = {"enabled": False}
    sizes = {k: v for k, v in TINY.items() if k != "heads"}
    baseline = make(CAMERAS, fusion="concat", **sizes)
    model = stmi(sfm=off, semantic=off)
    state = {k.replace("head.", "heads.g."): v for k, v in baseline.state_dict().items()}
    model.load_state_dict(state)
    batch = batch_of(SEVEN)
    assert torch.allclose(embed(model, batch), embed(baseline, batch), atol=1e-6)


def test_vectors_hold_what_retrieval_asks_for(batch_of: MakeBatch) -> None:
    batch = with_auxiliaries(batch_of([CAMERAS, "nir", "rgb+tir"]))
    both, g, u = (embed(stmi(retrieval=r), batch) for r in ("GU", "G", "U"))
    assert torch.allclose(F.normalize(both[:, : 3 * DIM], dim=1), g, atol=1e-6)
    assert torch.allclose(F.normalize(both[:, 3 * DIM :], dim=1), u, atol=1e-6)


def test_class_tokens_alone_cost_no_caption_and_no_last_layer(batch_of: MakeBatch) -> None:
    model = stmi(retrieval="G")
    batch = with_auxiliaries(batch_of([CAMERAS, "nir"]))
    pruned, cost = embed(model, batch), gmac(model, CAMERA, HEIGHT, WIDTH)
    model.prune = False
    assert torch.allclose(embed(model, batch), pruned, atol=1e-6)
    whole = stmi()
    assert cost < 0.7 * gmac(model, CAMERA, HEIGHT, WIDTH, prune=False)
    assert gmac(whole, CAMERA, HEIGHT, WIDTH) == gmac(whole, CAMERA, HEIGHT, WIDTH, prune=False)


def test_towers_may_be_shared_or_not(batch_of: MakeBatch) -> None:
    apart, batch = stmi(share_backbone=False), with_auxiliaries(batch_of([CAMERAS] * 2))
    together = stmi()
    state = dict(together.state_dict())
    for name in [k for k in state if k.startswith("image_tower.")]:
        tensor = state.pop(name)
        rest = name.removeprefix("image_tower.")
        state |= {f"image_towers.{m.value}.{rest}": tensor for m in CAMERA}
    apart.load_state_dict(state)
    assert torch.allclose(embed(apart, batch), embed(together, batch), atol=1e-6)
    assert "image_tower" not in dict(apart.named_children())


def test_the_camera_changes_the_vector_and_an_unknown_one_means_the_average_camera(
    batch_of: MakeBatch,
) -> None:
    model = stmi()
    with torch.no_grad():
        model.get_parameter("class_bias.camera").mul_(50)
    known = [embed(model, batch_of([CAMERAS], camera=c)) for c in range(3)]
    unknown = embed(model, batch_of([CAMERAS], camera=UNKNOWN))
    for a, b in pairwise([*known, unknown]):
        assert not torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("modalities", ["rgb", "nir+tir", "rgb+nir+tir+sketch"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_one_two_or_four_modalities_do_as_well_as_three(
    batch_of: MakeBatch, modalities: str, kind: str
) -> None:
    model = stmi(modalities, chi={"kind": kind})
    subsets = all_subsets(parse_subset(modalities))
    vectors = embed(model, with_auxiliaries(batch_of(subsets)))
    assert vectors.shape == (len(subsets), DIM * len(parse_subset(modalities)))
    output = model.train()(with_auxiliaries(batch_of([modalities] * 4, pids=[0, 0, 1, 1])))
    assert all(torch.isfinite(x) for x in output.losses.values())


def test_half_precision_embeds_finite_float32_vectors(batch_of: MakeBatch) -> None:
    model = stmi(chi={"tau_mode": "quantile"})
    batch = with_auxiliaries(batch_of(SEVEN), captions=[True] * 6 + [False])
    with torch.autocast("cpu", torch.bfloat16):
        found = embed(model, batch)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert (found * embed(model, batch)).sum(1).min() > 0.99


def test_both_sides_are_compared_by_what_they_share() -> None:
    model, common = stmi(), parse_subset("nir")
    assert model.pairing(parse_subset("rgb+nir"), parse_subset("nir+tir")) == (common, common)
    with pytest.raises(UnsupportedPairing):
        model.pairing(parse_subset("rgb"), parse_subset("tir"))


def test_a_row_without_any_of_the_models_modalities_is_refused(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+nir\)"):
        embed(stmi("rgb+nir"), batch_of(["rgb", "sketch"]))


@pytest.mark.parametrize(
    ("modalities", "fields", "message"),
    [
        ("rgb+text", {}, r"data\.modalities: stmi takes visual.*captions are an auxiliary input"),
        (CAMERAS, {"heads": 3}, r"3 attention heads do not divide a width of 16"),
        (CAMERAS, {"retrieval": "T"}, r"model\.retrieval"),
        (CAMERAS, {"semantic": {"tokens": -1}}, r"model\.semantic\.tokens: .*greater than or equal to 0"),
        (CAMERAS, {"caption_dropout": 1}, r"model\.caption_dropout: .*less than 1"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(
    modalities: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        stmi(modalities, **fields)
