"""Signal's vectors: any subset of modalities, alone or among other rows, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.comparison.regimes import Regime
from reid.config.typed import check
from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.errors import ConfigError, DataError, UnsupportedPairing
from reid.modality import CAMERA, Modality, Subset, all_subsets, parse_subset, subset_name
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import model_names
from reid.models.signal.model import Config, Model
from reid.models.signal.token_selection import Drop, Projections
from reid.runs.describe import gmac

Make = Callable[..., ReIDModel]
MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
DIM, HEIGHT, WIDTH = 16, 32, 16
TINY: dict[str, Any] = {  # 8 x 4 patches
    "tower": {"arch": None, "patch": 4, "width": 32, "layers": 2, "heads": 2, "dim": DIM}
}
SIM = {"k1": 10, "heads": 4, "hidden": 24}
SEVEN = all_subsets(CAMERA)


def signal(modalities: str = CAMERAS, cameras: int = 3, **fields: Any) -> Model:
    """A tiny Signal; `sim` is merged into small sizes."""
    torch.manual_seed(1)
    sim = {**SIM, **fields.pop("sim", {})}
    config = check(Config, {**TINY, "sim": sim, **fields}, "model")
    return Model(config, ModelContext(4, cameras, HEIGHT, WIDTH, parse_subset(modalities))).eval()


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


@pytest.fixture
def one_of(batch_of: MakeBatch) -> Callable[[Subset], Batch]:
    """A single row of a subset, of its own pictures."""
    return lambda subset: batch_of([subset], seed=sum(1 << CAMERA.index(m) for m in subset))


def test_signal_is_a_registered_model() -> None:
    assert "signal" in model_names()


def test_every_subset_becomes_a_unit_vector_with_zeros_where_a_modality_is_missing(
    batch_of: MakeBatch,
) -> None:
    model = signal()
    names = ["rgb", "nir", "tir", "interaction_rgb", "interaction_nir", "interaction_tir"]
    assert list(model.feature_blocks) == names
    assert [b.start for b in model.feature_blocks.values()] == list(range(0, 6 * DIM, DIM))
    assert model.supported("gallery") == SEVEN
    vectors = embed(model, batch_of(SEVEN))
    assert (vectors.shape, vectors.dtype) == ((7, model.dim), torch.float32)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(7), atol=1e-6)
    for subset, vector in zip(SEVEN, vectors, strict=True):
        for name, block in model.feature_blocks.items():
            assert bool(vector[block].any()) == (name.removeprefix("interaction_") in subset), subset


@pytest.mark.parametrize("drop", get_args(Drop))
@pytest.mark.parametrize("projections", get_args(Projections))
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets(
    one_of: Callable[[Subset], Batch], drop: str, projections: str
) -> None:
    model = signal(sim={"drop": drop, "projections": projections})
    singles = [one_of(subset) for subset in [*SEVEN, SEVEN[0]]]
    together = embed(model, join(singles))
    alone = torch.cat([embed(model, single) for single in singles])
    assert torch.allclose(together, alone, atol=1e-6)


def test_vectors_do_not_depend_on_an_absent_image(batch_of: MakeBatch) -> None:
    """Row 0 loses its NIR picture; what lies in that of row 1 is nothing to it."""
    model, batch = signal(), batch_of([CAMERAS] * 2)
    without = join([batch_of(["rgb+tir"]), batch_of([CAMERAS], seed=6)])
    nir = without.images[Modality.NIR]
    changed = replace(without, images={**without.images, Modality.NIR: 3 - nir})
    assert torch.equal(embed(model, without)[0], embed(model, changed)[0])
    assert not torch.allclose(embed(model, without)[1], embed(model, changed)[1], atol=1e-3)
    hidden = embed(model, batch.only([Modality.RGB, Modality.TIR]))
    assert not torch.allclose(hidden, embed(model, batch), atol=1e-2)


@pytest.mark.parametrize("subset", ["rgb+nir", "rgb+tir", "nir+tir"])
def test_with_a_modality_missing_the_rest_is_a_signal_of_two(batch_of: MakeBatch, subset: str) -> None:
    """Selection, keys and budget are those of a model that never knew the third."""
    three, two = signal(), signal(subset)
    two.load_state_dict({k: v for k, v in three.state_dict().items() if "heads" not in k}, strict=False)
    batch = batch_of([subset] * 3)
    found, expected = embed(three, batch), embed(two, batch)
    for name, block in two.feature_blocks.items():
        assert torch.allclose(found[:, three.feature_blocks[name]], expected[:, block], atol=1e-6), name


def test_the_rows_hold_class_tokens_and_what_interaction_made_of_them(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS, "nir", "rgb+tir"])
    both, ori, inter = (signal(retrieval=r) for r in ("both", "ori", "interaction"))
    assert list(ori.feature_blocks) == ["rgb", "nir", "tir"]
    assert list(inter.feature_blocks) == ["interaction_rgb", "interaction_nir", "interaction_tir"]
    vectors = embed(both, batch)
    assert torch.allclose(F.normalize(vectors[:, : 3 * DIM], dim=1), embed(ori, batch), atol=1e-6)
    assert torch.allclose(F.normalize(vectors[:, 3 * DIM :], dim=1), embed(inter, batch), atol=1e-6)


def test_without_interaction_signal_is_the_concatenating_baseline(make: Make, batch_of: MakeBatch) -> None:
    baseline = make(CAMERAS, fusion="concat", **TINY)
    off = {"enabled": False}
    model = signal(sim=off, gam=off, lam=off)
    model.load_state_dict({k.replace("head.", "heads.joint."): v for k, v in baseline.state_dict().items()})
    batch = batch_of(SEVEN)
    assert torch.allclose(embed(model, batch), embed(baseline, batch), atol=1e-6)


def test_kept_patches_of_complete_rows_alone_shape_the_interaction(batch_of: MakeBatch) -> None:
    """Keeping all patches is plain cross-attention; keeping one is not."""
    batch = batch_of([CAMERAS] * 2)
    few, all_kept = signal(sim={"k1": 1, "drop": "mask"}), signal(sim={"k1": 32, "drop": "mask"})
    zeros = signal(sim={"k1": 32, "drop": "zero"})
    assert torch.allclose(embed(all_kept, batch), embed(zeros, batch), atol=1e-6)
    assert not torch.allclose(embed(all_kept, batch), embed(few, batch), atol=1e-4)


@pytest.mark.parametrize("drop", get_args(Drop))
def test_alignment_is_skipped_when_embedding_and_changes_nothing(batch_of: MakeBatch, drop: str) -> None:
    model, batch = signal(sim={"drop": drop}), batch_of([CAMERAS] * 3)
    model.prune = False
    whole, cost = embed(model, batch), gmac(model, CAMERA, HEIGHT, WIDTH, prune=False)
    model.prune = True
    assert torch.equal(embed(model, batch), whole)
    saved = (cost - gmac(model, CAMERA, HEIGHT, WIDTH)) * 1e9
    sampler = 2 * 32 * DIM**2 + 2 * 16 * DIM + 2 * DIM  # two 1x1, one depthwise 4x4, one to a channel
    gram = 2 * (2 + 1)  # two anchors with two other means of two rows; the rest is elementwise
    assert saved == pytest.approx(3 * sampler, abs=gram * DIM)


def test_only_class_tokens_are_computed_when_only_they_are_kept(batch_of: MakeBatch) -> None:
    model, batch = signal(retrieval="ori"), batch_of([CAMERAS, "nir"])
    pruned, cost = embed(model, batch), gmac(model, CAMERA, HEIGHT, WIDTH)
    model.prune = False
    assert torch.allclose(embed(model, batch), pruned, atol=1e-6)
    assert cost < 0.7 * gmac(model, CAMERA, HEIGHT, WIDTH, prune=False)


def test_the_camera_changes_the_vector_and_an_unknown_one_means_the_average_camera(
    batch_of: MakeBatch,
) -> None:
    model = signal()
    with torch.no_grad():
        model.get_parameter("class_bias.camera").mul_(50)
    known = [embed(model, batch_of([CAMERAS], camera=c)) for c in range(3)]
    unknown = embed(model, batch_of([CAMERAS], camera=UNKNOWN))
    for a, b in pairwise([*known, unknown]):
        assert not torch.allclose(a, b, atol=1e-3)
    assert torch.equal(embed(model, batch_of([CAMERAS], camera=99)), unknown)
    free = signal(camera_embedding=False)
    assert torch.equal(embed(free, batch_of([CAMERAS], camera=0)), embed(free, batch_of([CAMERAS], camera=2)))


@pytest.mark.parametrize("modalities", ["nir+tir", "rgb+nir+tir+sketch"])
def test_two_or_four_modalities_do_as_well_as_three(batch_of: MakeBatch, modalities: str) -> None:
    model = signal(modalities)
    subsets = all_subsets(parse_subset(modalities))
    vectors = embed(model, batch_of(subsets))
    assert vectors.shape == (len(subsets), 2 * DIM * len(parse_subset(modalities)))
    output = model.train()(batch_of([modalities] * 4, pids=[0, 0, 1, 1]))
    assert all(torch.isfinite(x) for x in output.losses.values())


def test_half_precision_embeds_finite_float32_vectors(batch_of: MakeBatch) -> None:
    model, batch = signal(), batch_of(SEVEN)
    with torch.autocast("cpu", torch.bfloat16):
        found = embed(model, batch)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert (found * embed(model, batch)).sum(1).min() > 0.99


def test_both_sides_are_compared_by_what_they_share() -> None:
    model = signal()
    assert model.regime is Regime.MATCHED
    common = parse_subset("nir")
    assert model.pairing(parse_subset("rgb+nir"), parse_subset("nir+tir")) == (common, common)
    with pytest.raises(UnsupportedPairing):
        model.pairing(parse_subset("rgb"), parse_subset("tir"))


def test_a_row_without_any_of_the_models_modalities_is_refused(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+nir\)"):
        embed(signal("rgb+nir"), batch_of(["rgb", "sketch"]))
    model = signal("rgb+nir")
    assert torch.equal(embed(model, batch_of(["rgb+sketch"])), embed(model, batch_of(["rgb"])))


@pytest.mark.parametrize(
    ("modalities", "fields", "message"),
    [
        (CAMERAS, {"sim": {"k1": 33}}, r"model\.sim\.k1 = 33 is more than the 32 patches"),
        (CAMERAS, {"sim": {"k1": 0}}, r"model\.sim\.k1: .*greater than or equal to 1"),
        (CAMERAS, {"sim": {"heads": 3}}, r"model\.sim\.heads = 3 does not divide model\.tower\.dim = 16"),
        (CAMERAS, {"sim": {"projections": "random"}}, r"model\.sim\.projections"),
        (CAMERAS, {"lam": {"stride": 5}}, r"model\.lam\.stride = 5 does not fit a grid of 8x4"),
        (CAMERAS, {"lam": {"offsets": 3}}, r"model\.lam\.offsets"),
        (CAMERAS, {"lam": {"weight": -0.1}}, r"model\.lam\.weight: .*greater than or equal to 0"),
        (CAMERAS, {"gam": {"temperature": 0}}, r"model\.gam\.temperature: .*greater than 0"),
        (CAMERAS, {"gam": {"alpha": 1}}, r"model\.gam\.alpha: unknown key"),
        (CAMERAS, {"sim": {"enabled": False}, "retrieval": "interaction"}, r"model\.retrieval.*sim\.enabled"),
        ("rgb+nir+text", {}, r"data\.modalities: signal takes two or more visual.*got rgb\+nir\+text"),
        ("tir", {}, r"data\.modalities: signal takes two or more visual modalities.*got tir"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(
    modalities: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        signal(modalities, **fields)


def test_disabled_parts_need_no_fitting_sizes(batch_of: MakeBatch) -> None:
    model = signal(sim={"enabled": False, "k1": 99}, lam={"enabled": False, "stride": 99})
    assert model.dim == 3 * DIM
    assert embed(model, batch_of([subset_name(CAMERA)])).shape == (1, 3 * DIM)
