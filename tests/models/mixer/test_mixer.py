"""MixER's vectors: any subset of visible and infrared, alone or among other rows, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.comparison.regimes import Regime
from reid.config.typed import check
from reid.data.batches.batch import Batch, join
from reid.errors import ConfigError, DataError, UnsupportedPairing, WeightsError
from reid.modality import Modality, Subset, all_subsets, parse_subset
from reid.models.base import ModelContext
from reid.models.mixer.model import Config, Model
from reid.models.registry import model_names
from reid.nn.towers.resnet import ResNetTrunk
from reid.runs.describe import gmac

MakeBatch = Callable[..., Batch]
HEIGHT, WIDTH = 32, 16
BOTH = parse_subset("rgb+nir")
SUBSETS = all_subsets(BOTH)
TOWER = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
KINDS: list[dict[str, Any]] = [
    {},
    {"backbone": "resnet50"},
    {"backbone": "tower"},
    {"branch_layout": "e_r"},
    {"branch_layout": "e_r_base"},
    {"branch_layout": "e"},
    {"two_stream_stem": True, "pooling": "gem", "dual_norm": True, "mam": False},
    {"orthogonality": {"form": "projection"}},
    {"retrieval": {"parts": "e_only"}},
    {"retrieval": {"related_weight": 0.5, "on": "raw"}},
]


def mixer(modalities: str = "rgb+nir", **fields: Any) -> Model:
    """A tiny MixER whose branches and statistics are as after some training."""
    torch.manual_seed(1)
    sizes = {"backbone": "resnet18", "base_width": 8, "tower": TOWER}
    config = check(Config, {**sizes, **fields}, "model")
    model = Model(config, ModelContext(4, 3, HEIGHT, WIDTH, parse_subset(modalities)))
    with torch.no_grad():
        for p in model.head.branches.stages.parameters():
            p.add_(0.05 * torch.randn_like(p))
        for name, buffer in model.named_buffers():
            if "running_var" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
            elif "running_mean" in name:
                buffer.copy_(0.1 * torch.randn_like(buffer))
    return model.eval()


@torch.inference_mode()
def embed(model: Model, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


def test_mixer_is_a_registered_any_to_any_model() -> None:
    assert "mixer" in model_names()
    model = mixer()
    assert model.regime is Regime.ANY_TO_ANY
    assert model.supported("query") == model.supported("gallery") == SUBSETS
    for q in SUBSETS:
        for g in SUBSETS:
            assert model.pairing(q, g) == (q, g)


@pytest.mark.parametrize("fields", KINDS)
def test_every_subset_becomes_a_unit_vector(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = mixer(**fields)
    vectors = embed(model, batch_of(SUBSETS))
    assert (vectors.shape, vectors.dtype) == ((3, model.dim), torch.float32)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-6)
    assert torch.pdist(vectors).min() > 0.01, "pictures are told apart"
    assert sum(b.stop - b.start for b in model.feature_blocks.values()) == model.dim


@pytest.mark.parametrize("fields", KINDS)
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets(
    batch_of: MakeBatch, fields: dict[str, Any]
) -> None:
    model = mixer(**fields)
    singles = [batch_of([subset], seed=i) for i, subset in enumerate([*SUBSETS, SUBSETS[0]])]
    together = embed(model, join(singles))
    alone = torch.cat([embed(model, single) for single in singles])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("fields", KINDS[:4])
def test_many_subsets_of_a_capture_are_encoded_once(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model, batch = mixer(**fields), batch_of([BOTH] * 3)
    seen: list[int] = []
    model.trunk.register_forward_hook(lambda _, args, __: seen.append(sum(len(x) for x in args)))
    with torch.inference_mode():
        found = model.embed_many(batch, SUBSETS, "gallery")
    assert seen == [6]
    for subset, vectors in found.items():
        assert torch.allclose(vectors, embed(model, batch.only(subset)), atol=1e-5), subset


def test_weights_fill_the_backbone_and_every_branch(tmp_path: Path) -> None:
    torch.manual_seed(7)
    given = ResNetTrunk("resnet18", base=8).state_dict()
    torch.save(given, tmp_path / "w.pth")
    model = mixer(weights=str(tmp_path / "w.pth"), two_stream_stem=True)
    model.load_pretrained()
    state = model.state_dict()
    for name in ("conv1", "conv1_infrared"):
        assert torch.equal(state[f"trunk.{name}.weight"], given["conv1.weight"])
    for branch in ("erased", "related_visible", "related_infrared"):
        own = state[f"head.branches.stages.{branch}.1.conv2.weight"]
        assert torch.equal(own, given["layer4.1.conv2.weight"])
    with pytest.raises(WeightsError, match="Three ways"):
        mixer(weights=str(tmp_path / "none.pth")).load_pretrained()


def test_both_modalities_are_the_normalised_mean_of_each(batch_of: MakeBatch) -> None:
    model, batch = mixer(), batch_of([BOTH] * 3)
    rgb, nir = (embed(model, batch.only([m])) for m in BOTH)
    assert torch.allclose(embed(model, batch), F.normalize(rgb + nir, dim=1), atol=1e-5)


def test_a_vector_holds_the_unit_erased_and_the_weighted_unit_related_feature(batch_of: MakeBatch) -> None:
    batch = batch_of(["rgb", "nir"])
    plain, half, erased = (mixer(retrieval=r) for r in ({}, {"related_weight": 0.5}, {"parts": "e_only"}))
    d = erased.dim
    assert list(plain.feature_blocks) == ["erased", "related"]
    assert list(erased.feature_blocks) == ["erased"]
    one, two = embed(plain, batch), embed(half, batch)
    assert torch.allclose(one[:, :d].norm(dim=1), one[:, d:].norm(dim=1), atol=1e-6)
    assert torch.allclose(two[:, d:].norm(dim=1), 0.5 * two[:, :d].norm(dim=1), atol=1e-6)
    assert torch.allclose(F.normalize(one[:, :d], dim=1), embed(erased, batch), atol=1e-6)


def test_thermal_pictures_may_take_the_place_of_near_infrared(batch_of: MakeBatch) -> None:
    model = mixer("rgb+tir", infrared="tir")
    assert model.query_modalities == {Modality.RGB, Modality.TIR}
    assert embed(model, batch_of(["rgb", "tir", "rgb+tir"])).shape == (3, model.dim)


@pytest.mark.parametrize("fields", KINDS)
def test_pruning_skips_what_cannot_change_a_vector(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model, batch = mixer(**fields), batch_of(SUBSETS)
    pruned, cost = embed(model, batch), gmac(model, BOTH, HEIGHT, WIDTH)
    model.prune = False
    assert torch.allclose(embed(model, batch), pruned, atol=1e-5)
    whole = gmac(model, BOTH, HEIGHT, WIDTH, prune=False)
    routed = fields.get("branch_layout", "e_rv_ri") == "e_rv_ri" or fields.get("retrieval")
    assert whole > cost if routed else whole >= cost


def test_half_precision_embeds_finite_float32_vectors_near_the_exact_ones(batch_of: MakeBatch) -> None:
    for fields in ({}, {"backbone": "tower"}):
        model, batch = mixer(**fields), batch_of(SUBSETS)
        with torch.autocast("cpu", torch.bfloat16):
            found = embed(model, batch)
        assert found.dtype == torch.float32
        assert (found * embed(model, batch)).sum(1).min() > 0.99


def test_other_modalities_of_a_row_are_no_concern(batch_of: MakeBatch) -> None:
    model = mixer()
    assert torch.equal(embed(model, batch_of(["rgb+sketch"])), embed(model, batch_of(["rgb"])))
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+nir\)"):
        embed(model, batch_of(["rgb", "sketch"]))
    with pytest.raises(DataError, match="Row 1 has none"):
        model.embed_many(batch_of(["rgb", "nir"]), [parse_subset("rgb")], "query")


@pytest.mark.parametrize("query", ["sketch", "text", "rgb+sketch", "tir"])
def test_what_it_cannot_take_is_refused_with_who_can(query: str) -> None:
    subset: Subset = parse_subset(query)
    with pytest.raises(UnsupportedPairing) as caught:
        mixer().pairing(subset, parse_subset("rgb"))
    assert "any subset of rgb+nir" in str(caught.value)
    assert "flexireid" in str(caught.value)
    assert ("mixer with infrared: tir" in str(caught.value)) == (query == "tir")


@pytest.mark.parametrize(
    ("modalities", "fields", "message"),
    [
        ("rgb", {}, r"data\.modalities: mixer with model\.infrared=nir takes rgb\+nir; got rgb"),
        ("rgb+tir", {}, r"takes rgb\+nir; got rgb\+tir"),
        ("rgb+nir+text", {}, r"takes rgb\+nir; got rgb\+nir\+text"),
        ("rgb+nir", {"infrared": "sketch"}, r"model\.infrared"),
        ("rgb+nir", {"backbone": "resnet20"}, r"model\.backbone"),
        ("rgb+nir", {"branch_layout": "e_v_i"}, r"model\.branch_layout"),
        ("rgb+nir", {"backbone": "tower", "two_stream_stem": True}, r"model\.two_stream_stem: only ResNets"),
        ("rgb+nir", {"backbone": "tower", "pooling": "gem"}, r"model\.pooling: only ResNets"),
        ("rgb+nir", {"meid_weight": 0, "fusion_weight": 0}, r"model\.meid_weight = 0"),
        ("rgb+nir", {"branch_layout": "e", "meid_weight": 0}, r"model\.meid_weight = 0"),
        ("rgb+nir", {"mid_weight": 0, "fusion_weight": 0}, r"use model\.branch_layout=e\."),
        ("rgb+nir", {"branch_layout": "e_r_base", "base_weight": 0}, r"model\.base_weight = 0"),
        ("rgb+nir", {"orthogonality": {"form": "cos"}}, r"model\.orthogonality\.form"),
        ("rgb+nir", {"modality_weight": -1}, r"model\.modality_weight: .*greater than or equal to 0"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(
    modalities: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mixer(modalities, **fields)
