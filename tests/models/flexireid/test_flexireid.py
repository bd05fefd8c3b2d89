"""FlexiReID's vectors: seven queries and the photo in one space, any subset a row, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.comparison.regimes import Regime
from reid.config.typed import check
from reid.data.batches.batch import Batch, join
from reid.errors import ConfigError, DataError, UnsupportedPairing
from reid.modality import Modality, all_subsets, parse_subset, subset_name
from reid.models.base import ModelContext, ReIDModel
from reid.models.flexireid.adaptive_experts import AdaptiveExperts
from reid.models.flexireid.model import Config, Model
from reid.models.registry import model_names
from reid.nn.towers.clip import ImageTower
from reid.runs.describe import gmac

MakeBatch = Callable[..., Batch]
ALL = "rgb+nir+sketch+text"
FIFTEEN = all_subsets(parse_subset(ALL))
SEVEN = [s for s in FIFTEEN if Modality.RGB not in s]
DIM, HEIGHT, WIDTH = 16, 32, 16
TINY: dict[str, Any] = {
    "tower": {"arch": None, "patch": 8, "width": 32, "layers": 3, "heads": 2, "dim": DIM},
    "text": {"width": 16, "layers": 2, "heads": 1, "vocab": 64, "context": 12},
}
ALIVE = {"hidden": 8, "init": "conv", "scale": 1.0}
"""Adapters that do something."""
VARIANTS: list[dict[str, Any]] = [
    {},
    {"moe": {"unit": "sample_cls"}},
    {"moe": {"unit": "sample_mean"}},
    {"moe": {"router": "hash", "place": "sequential", "reads": "h"}},
    {"moe": {"place": "replace", "dispatch": "grouped"}},
    {"moe": {"enabled": False}, "fusion": {"kind": "sum"}},
    {"fusion": {"tokens": "global"}},
    {"fusion": {"tokens": "resampled", "lef_scope": "per_mode"}},
    {"fusion": {"kind": "concat"}},
    {"fusion": {"kind": "hierarchical", "lef": "zeros"}},
]


def flexireid(modalities: str = ALL, **fields: Any) -> Model:
    """A tiny FlexiReID in evaluation mode; `moe` is merged into live adapters."""
    torch.manual_seed(1)
    moe = {**ALIVE, **fields.pop("moe", {})}
    config = check(Config, {**TINY, "moe": moe, **fields}, "model")
    return Model(config, ModelContext(4, 3, HEIGHT, WIDTH, parse_subset(modalities))).eval()


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


def test_flexireid_is_a_registered_model() -> None:
    assert "flexireid" in model_names()


@pytest.mark.parametrize("fields", VARIANTS)
def test_every_subset_becomes_a_unit_vector_of_one_space(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = flexireid(**fields)
    assert model.regime is Regime.ANY_TO_ANY
    assert model.supported("query") == model.supported("gallery") == FIFTEEN
    vectors = embed(model, batch_of(FIFTEEN))
    assert (vectors.shape, vectors.dtype) == ((15, DIM), torch.float32)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(15), atol=1e-6)
    for i, row in enumerate(vectors):
        others = torch.cat([vectors[:i], vectors[i + 1 :]])
        assert (others @ row).max() < 1 - 1e-5


@pytest.mark.parametrize("fields", VARIANTS)
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets(
    batch_of: MakeBatch, fields: dict[str, Any]
) -> None:
    model = flexireid(**fields)
    singles = [batch_of([subset], seed=i) for i, subset in enumerate([*FIFTEEN, *SEVEN])]
    together = embed(model, join(singles))
    alone = torch.cat([embed(model, single) for single in singles])
    assert torch.allclose(together, alone, atol=2e-6)


@pytest.mark.parametrize("fields", VARIANTS)
def test_many_subsets_of_a_capture_cost_one_pass_of_each_tower_and_equal_single_ones(
    batch_of: MakeBatch, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = flexireid(**fields), batch_of([ALL] * 3)
    expected = {s: embed(model, batch.only(s)) for s in FIFTEEN}
    seen = []
    patchify = ImageTower.patchify

    def counting(self: ImageTower, images: Tensor, class_bias: Tensor | None = None) -> Tensor:
        seen.append(len(images))
        return patchify(self, images, class_bias)

    monkeypatch.setattr(ImageTower, "patchify", counting)
    with torch.inference_mode():
        found = model.embed_many(batch, FIFTEEN, "gallery")
    assert seen == [9]  # three rows of three pictures
    assert list(found) == FIFTEEN
    for subset in FIFTEEN:
        assert torch.allclose(found[subset], expected[subset], atol=2e-6), subset


def test_a_query_says_what_its_modalities_say_and_nothing_of_the_others(batch_of: MakeBatch) -> None:
    model, batch, other = flexireid(), batch_of([ALL] * 2), batch_of([ALL] * 2, seed=6)
    assert batch.tokens is not None and other.tokens is not None
    for subset in FIFTEEN:
        same = embed(model, batch.only(subset))
        for modality in parse_subset(ALL):
            changed = join([batch])
            if modality is Modality.TEXT:
                changed.tokens.copy_(other.tokens)  # type: ignore[union-attr]
            else:
                changed.images[modality].copy_(other.images[modality])
            equal = torch.allclose(embed(model, changed.only(subset)), same, atol=1e-6)
            assert equal == (modality not in subset), (subset, modality)


def test_a_photo_is_clips_class_token_at_the_start_and_does_not_pass_the_fusion(batch_of: MakeBatch) -> None:
    from open_clip.transformer import QuickGELU, VisionTransformer

    torch.manual_seed(1)
    fields = {**TINY, "tower": {**TINY["tower"], "patch": 8}}
    square = Model(check(Config, fields, "model"), ModelContext(4, 3, 32, 32, parse_subset(ALL))).eval()
    reference = VisionTransformer(32, 8, 32, 3, 2, 4.0, output_dim=DIM, act_layer=QuickGELU).eval()
    reference.load_state_dict(square.image_tower.visual.state_dict())
    model, batch = flexireid(moe={"init": "adapter"}), batch_of(["rgb", ALL])
    pictures = batch.images[Modality.RGB]
    wide = torch.cat([pictures, pictures.flip(3)], dim=3)
    with torch.inference_mode():
        clip = F.normalize(feature := model.image_tower.class_feature(pictures), dim=1)
        for prune in (True, False):
            streams, _ = model._encode(batch, prune)
            assert torch.allclose(streams[Modality.RGB].whole, feature, atol=1e-6)
        streams, _ = model._encode(batch.only([Modality.RGB]), prune=True)
        assert torch.equal(streams[Modality.RGB].whole, feature)  # to the bit
        assert torch.allclose(embed(model, batch.only([Modality.RGB])), clip, atol=1e-6)
        seen = square.embed(
            Batch(**{**vars(batch.only([Modality.RGB])), "images": {Modality.RGB: wide}}), "query"
        )
        assert torch.allclose(seen, F.normalize(reference(wide), dim=1), atol=1e-6)
    live = flexireid()
    assert not torch.allclose(embed(live, batch.only([Modality.RGB])), clip, atol=1e-3)


def test_a_photo_with_others_is_the_normalised_mean_of_both_vectors(batch_of: MakeBatch) -> None:
    model, batch = flexireid(), batch_of([ALL] * 2)
    photo = embed(model, batch.only([Modality.RGB]))
    for subset in SEVEN:
        both = embed(model, batch.only([Modality.RGB, *subset]))
        mean = (photo + embed(model, batch.only(subset))) / 2
        assert torch.allclose(both, F.normalize(mean, dim=1), atol=1e-6), subset


def test_both_sides_are_alike_and_the_gallery_needs_no_text(batch_of: MakeBatch) -> None:
    model, batch = flexireid(), batch_of(FIFTEEN)
    with torch.inference_mode():
        assert torch.equal(model.embed(batch, "query"), model.embed(batch, "gallery"))
    text, rgb = (parse_subset(s) for s in ("text", "rgb"))
    assert model.pairing(text, rgb) == (text, rgb)
    assert model.pairing(parse_subset("nir+sketch"), text) == (parse_subset("nir+sketch"), text)


def test_image_experts_are_shared_and_text_has_its_own(batch_of: MakeBatch) -> None:
    model = flexireid()
    assert (len(model.image_moe), len(model.text_moe)) == (3, 2)
    assert {p.shape[-1] for p in model.text_moe.parameters() if p.ndim == 3} <= {16, 8}
    batch = batch_of([ALL] * 2)
    same = batch.images[Modality.RGB]
    for m in (Modality.NIR, Modality.SKETCH):
        batch.images[m].copy_(same)
    streams, _ = model._encode(batch, prune=False)
    for m in (Modality.NIR, Modality.SKETCH):
        assert torch.allclose(streams[m].tokens, streams[Modality.RGB].tokens, atol=1e-6)


@pytest.mark.parametrize("fields", VARIANTS)
def test_pruning_changes_no_vector(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model, batch = flexireid(**fields), batch_of(FIFTEEN)
    pruned = embed(model, batch)
    model.prune = False
    assert torch.allclose(embed(model, batch), pruned, atol=2e-6)


def test_pruning_saves_the_patches_of_photos_in_the_last_block() -> None:
    model = flexireid(moe={"dispatch": "dense"})
    rgb, visual = parse_subset("rgb"), parse_subset("rgb+nir+sketch")
    whole, needed = ([gmac(model, s, HEIGHT, WIDTH, prune=p) for s in (rgb, visual)] for p in (False, True))
    assert needed[0] < 0.8 * whole[0]
    assert whole[1] - needed[1] == pytest.approx(whole[0] - needed[0], rel=1e-6)


@pytest.mark.parametrize(
    ("modalities", "queries"), [("rgb+text", 1), ("rgb+nir+sketch", 3), ("rgb+sketch+text", 3)]
)
def test_fewer_modalities_do_with_embeddings_for_the_rest(
    batch_of: MakeBatch, modalities: str, queries: int
) -> None:
    model = flexireid(modalities)
    subsets = all_subsets(parse_subset(modalities))
    assert embed(model, batch_of(subsets)).shape == (len(subsets), DIM)
    output = model.train()(batch_of([modalities] * 3, pids=[0, 1, 2]))
    assert sum(name.startswith("sdm_") for name in output.losses) == queries
    assert (model.text_tower is None) == ("text" not in modalities)


def test_thermal_may_be_the_infrared_modality(batch_of: MakeBatch) -> None:
    thermal, near = flexireid("rgb+tir+sketch+text", infrared="tir"), flexireid()
    thermal.load_state_dict(near.state_dict())
    batch = batch_of(["nir+text", "nir"])
    swapped = batch_of(["tir+text", "tir"])
    swapped.images[Modality.TIR].copy_(batch.images[Modality.NIR])
    assert torch.allclose(embed(thermal, swapped), embed(near, batch), atol=1e-6)


def test_half_precision_embeds_float32_vectors_close_to_the_exact_ones(batch_of: MakeBatch) -> None:
    model, batch = flexireid(), batch_of(FIFTEEN)
    with torch.autocast("cpu", torch.bfloat16):
        found = embed(model, batch)
    assert found.dtype == torch.float32
    assert (found * embed(model, batch)).sum(1).min() > 0.995


def test_where_patches_go_is_told_for_three_blocks_of_every_picture(batch_of: MakeBatch) -> None:
    batch = batch_of(["rgb+nir", "nir+text", "text"])
    for unit in ("token", "sample_cls"):
        routed = flexireid(moe={"unit": unit}).routing(batch)
        assert set(routed) == {f"image{i}/{m}" for i in (0, 1, 2) for m in ("rgb", "nir")}
        nir = routed["image1/nir"]
        assert (nir.experts.shape, nir.count) == ((3, 4, 2), 6)
        assert bool((nir.experts[2] == -1).all()) and bool((nir.experts[:2] >= 0).all())
        assert bool((routed["image0/rgb"].experts[1:] == -1).all())
    spread = flexireid().routing(batch_of(["rgb"] * 8))["image0/rgb"].experts
    assert len(spread.unique()) > 1
    assert flexireid(moe={"enabled": False}).routing(batch) == {}


def test_a_row_without_any_of_the_models_modalities_is_refused(batch_of: MakeBatch) -> None:
    model = flexireid("rgb+sketch")
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+sketch\)"):
        embed(model, batch_of(["rgb", "text"]))
    with pytest.raises(DataError, match="Row 0 has none"):
        model.embed_many(batch_of(["rgb+nir"]), [parse_subset("rgb"), parse_subset("nir")], "query")
    assert torch.equal(embed(model, batch_of(["rgb+tir"])), embed(model, batch_of(["rgb"])))


def test_what_the_model_does_not_take_is_told_with_what_it_takes() -> None:
    model, rgb = flexireid("rgb+sketch"), parse_subset("rgb")
    with pytest.raises(UnsupportedPairing, match=r"cannot take text on the query side.*rgb\+sketch"):
        model.pairing(parse_subset("text"), rgb)
    with pytest.raises(UnsupportedPairing, match="Empty modality subset"):
        model.pairing((), rgb)
    with pytest.raises(UnsupportedPairing, match="cannot take tir"):
        flexireid().pairing(parse_subset("tir"), rgb)


@pytest.mark.parametrize(
    ("modalities", "fields", "message"),
    [
        ("rgb", {}, r"data\.modalities: flexireid takes rgb and one or more of .*got rgb\."),
        ("nir+text", {}, r"data\.modalities: flexireid takes rgb and"),
        ("rgb+tir+text", {}, r"got rgb\+tir\+text\. model\.infrared names"),
        (ALL, {"infrared": "sketch"}, r"model\.infrared"),
        (ALL, {"moe": {"router": "topk", "top_k": 7}}, r"top_k = 7 of 6 experts"),
        (ALL, {"fusion": {"heads": 3}}, r"3 attention heads do not divide a width of 16"),
        (ALL, {"fusion": {"length": 1}}, r"model\.fusion\.length"),
        (ALL, {"tau": 0.4}, r"model\.tau: unknown key"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(
    modalities: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        flexireid(modalities, **fields)


def test_frozen_towers_need_weights_and_something_to_train() -> None:
    with pytest.raises(ConfigError, match=r"model\.freeze_backbone=true.*model\.weights=random"):
        flexireid().load_pretrained()
    nothing = flexireid(weights="a.safetensors", moe={"enabled": False}, fusion={"kind": "sum"})
    with pytest.raises(ConfigError, match=r"nothing to train.*train\.epochs=0"):
        nothing.load_pretrained()
    flexireid(freeze_backbone=False).load_pretrained()


def test_every_block_of_both_towers_has_a_mixture_and_the_names_of_towers_are_the_baselines() -> None:
    model = flexireid()
    assert all(isinstance(m, AdaptiveExperts) for m in [*model.image_moe, *model.text_moe])
    names = {subset_name(s) for s in model.modes}
    assert names == {subset_name(s) for s in SEVEN}
    prefixes = {n.split(".")[0] for n, _ in model.named_parameters()}
    assert prefixes == {"image_tower", "text_tower", "image_moe", "text_moe", "fusion"}
