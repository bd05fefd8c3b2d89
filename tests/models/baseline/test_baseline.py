"""The baseline's two regimes: what it embeds, what it refuses, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.comparison.regimes import Regime
from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.errors import ConfigError, DataError
from reid.modality import PUBLISHED, Modality, all_subsets, parse_subset, subset_name
from reid.models.base import ReIDModel
from reid.models.registry import model_names
from reid.nn.parameters import parameter_counts

Make = Callable[..., ReIDModel]
MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
EVERYTHING = "rgb+nir+tir+sketch+text"
REGIMES = [("concat", CAMERAS), ("mean", EVERYTHING)]


def rows(batch: Batch, wanted: list[int]) -> Batch:
    """Some rows of a batch, as a batch."""
    keep = torch.tensor(wanted)
    chosen = {
        m: [int((index == r).nonzero()) for r in wanted if r in index.tolist()]
        for m, index in batch.index.items()
    }
    chosen = {m: places for m, places in chosen.items() if places}
    return replace(
        batch,
        pid=batch.pid[keep],
        present=batch.present[keep],
        camid=batch.camid[keep],
        viewid=batch.viewid[keep],
        images={m: batch.images[m][places] for m, places in chosen.items() if m.is_visual},
        index={
            m: torch.tensor([i for i, r in enumerate(wanted) if r in batch.index[m].tolist()]) for m in chosen
        },
        tokens=batch.tokens[chosen[Modality.TEXT]]
        if batch.tokens is not None and Modality.TEXT in chosen
        else None,
    )


@torch.inference_mode()
def embed(model: ReIDModel, batch: Batch) -> Tensor:
    return model.embed(batch, "query")


def test_the_baseline_is_a_registered_model() -> None:
    assert "baseline" in model_names()


@pytest.mark.parametrize(("fusion", "modalities"), REGIMES)
def test_every_subset_becomes_a_unit_vector(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion)
    subsets = model.supported("query")
    assert subsets == all_subsets(parse_subset(modalities)) == model.supported("gallery")
    vectors = embed(model, batch_of(subsets))
    assert vectors.shape == (len(subsets), model.dim)
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(subsets)), atol=1e-6)


@pytest.mark.parametrize(("fusion", "modalities"), REGIMES)
def test_a_row_embeds_alike_alone_and_among_rows_of_other_subsets(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion)
    batch = batch_of(all_subsets(parse_subset(modalities)))
    together = embed(model, batch)
    alone = torch.cat([embed(model, rows(batch, [r])) for r in range(len(batch))])
    assert torch.allclose(together, alone, atol=1e-6)
    backwards = list(range(len(batch)))[::-1]
    assert torch.allclose(embed(model, rows(batch, backwards)).flip(0), together, atol=1e-6)


def test_in_concat_each_modality_fills_its_block_and_a_missing_one_leaves_zeros(
    make: Make, batch_of: MakeBatch
) -> None:
    model = make(CAMERAS, fusion="concat")
    assert model.regime is Regime.MATCHED
    assert model.feature_blocks == {"rgb": slice(0, 16), "nir": slice(16, 32), "tir": slice(32, 48)}
    batch = batch_of(["rgb+tir"])
    vector = embed(model, batch)[0]
    assert not vector[model.feature_blocks["nir"]].any()
    parts = [embed(model, batch.only([m]))[0] for m in (Modality.RGB, Modality.TIR)]
    for modality, part in zip(("rgb", "tir"), parts, strict=True):
        block = model.feature_blocks[modality]
        assert torch.allclose(F.normalize(vector[block], dim=0), part[block], atol=1e-5)
        assert int((part != 0).sum()) == 16


def test_in_mean_a_subset_is_the_normalised_mean_of_its_modalities_vectors(
    make: Make, batch_of: MakeBatch
) -> None:
    model = make(EVERYTHING, fusion="mean")
    assert model.regime is Regime.ANY_TO_ANY
    assert (model.dim, model.feature_blocks) == (16, {"shared": slice(0, 16)})
    batch = batch_of([EVERYTHING])
    single = {m: embed(model, batch.only([m]))[0] for m in PUBLISHED}
    for size in (2, 3, 5):
        for subset in combinations(PUBLISHED, size):
            mean = F.normalize(torch.stack([single[m] for m in subset]).mean(0), dim=0)
            assert torch.allclose(embed(model, batch.only(subset))[0], mean, atol=1e-6), subset_name(subset)


def test_a_gate_weighs_modalities_whose_weights_are_equal_at_the_start(
    make: Make, batch_of: MakeBatch
) -> None:
    model, plain = make("rgb+nir+text", fusion="mean", gate=True), make("rgb+nir+text", fusion="mean")
    batch = batch_of(["rgb+nir", "rgb+nir+text"])
    assert torch.equal(embed(model, batch), embed(plain, batch))
    with torch.no_grad():
        model.get_parameter("gate")[1] = 30.0  # near infrared alone decides where it is
    assert torch.allclose(embed(model, batch), embed(plain, batch.only([Modality.NIR])), atol=1e-5)
    photos = batch.only([Modality.RGB])
    assert torch.allclose(embed(model, photos), embed(plain, photos), atol=1e-6)


def test_centering_takes_from_each_modality_what_all_its_pictures_share(
    make: Make, batch_of: MakeBatch
) -> None:
    """Similarities of unrelated pairs crowd near 1 without it, and around 0 with it."""
    model = make("rgb+nir", fusion="mean", centering=True, camera_embedding=False)
    batch = batch_of(["rgb+nir"] * 8, pids=[0, 0, 1, 1, 2, 2, 3, 3])

    def crowding() -> float:
        vectors = embed(model.eval(), batch.only([Modality.RGB]))
        return float((vectors @ vectors.T).masked_fill(torch.eye(8, dtype=torch.bool), 0).sum() / 56)

    assert crowding() > 0.8
    model.train()(batch)
    assert abs(crowding()) < 0.2
    state = model.state_dict()
    again = make("rgb+nir", fusion="mean", centering=True, camera_embedding=False)
    again.load_state_dict(state)
    assert torch.equal(embed(again, batch), embed(model, batch))


@pytest.mark.parametrize("field", ["gate", "centering"])
def test_gate_and_centering_belong_to_the_mean(make: Make, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} belongs to fusion: mean"):
        make(CAMERAS, fusion="concat", **{field: True})


@pytest.mark.parametrize(("fusion", "modalities"), REGIMES)
def test_the_camera_changes_the_vector_and_an_unknown_one_means_the_average_camera(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion)
    with torch.no_grad():
        model.get_parameter("class_bias.camera").mul_(50)
    first, second = (embed(model, batch_of(["rgb"], camera=c)) for c in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)
    unknown = embed(model, batch_of(["rgb"], camera=UNKNOWN))
    assert torch.equal(embed(model, batch_of(["rgb"], camera=99)), unknown)
    with torch.no_grad():
        camera = model.get_parameter("class_bias.camera")
        camera.copy_(camera.mean(0).expand_as(camera).clone())
    assert torch.allclose(embed(model, batch_of(["rgb"], camera=0)), unknown, atol=1e-5)


def test_the_modality_embedding_tells_equal_pictures_apart(make: Make, batch_of: MakeBatch) -> None:
    batch = batch_of(["rgb", "nir"])
    batch = replace(batch, images=dict.fromkeys(batch.images, batch.images[Modality.RGB]))
    plain = embed(make("rgb+nir", fusion="mean"), batch)
    assert torch.allclose(plain[0], plain[1], atol=1e-6)
    model = make("rgb+nir", fusion="mean", modality_embedding=True)
    with torch.no_grad():
        model.get_parameter("class_bias.kind").mul_(50)
    told = embed(model, batch)
    assert not torch.allclose(told[0], told[1], atol=1e-3)


@pytest.mark.parametrize(("fusion", "modalities"), [("concat", "rgb+nir"), ("mean", "rgb+nir")])
def test_a_row_without_any_of_the_models_modalities_is_refused(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion)
    with pytest.raises(DataError, match=r"Row 1 has none of this model's modalities \(rgb\+nir\)"):
        embed(model, batch_of(["rgb", "sketch"]))
    assert torch.equal(embed(model, batch_of(["rgb+sketch"])), embed(model, batch_of(["rgb"])))


def test_concat_has_no_place_for_text_and_says_what_has(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"model\.fusion.*fusion: mean for text"):
        make("rgb+text", fusion="concat")


def test_text_alone_is_not_enough_for_a_baseline(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"data\.modalities.*at least one visual"):
        make("text", fusion="mean")


def test_concat_trains_on_complete_rows_only(make: Make, batch_of: MakeBatch) -> None:
    model = make(CAMERAS, fusion="concat").train()
    with pytest.raises(DataError, match="Every row needs tir"):
        model(batch_of([CAMERAS, "rgb+nir"], pids=[0, 1]))


@pytest.mark.parametrize(
    ("fusion", "subsets", "names"),
    [
        ("concat", [CAMERAS] * 4, {"id", "triplet"}),
        ("mean", [EVERYTHING] * 4, {"id", "triplet", "id_each", "triplet_each", "sdm"}),
        ("mean", ["rgb", "text", "nir", "sketch"], {"id", "triplet", "id_each", "triplet_each"}),
    ],
)
def test_losses_are_named_weighted_and_finite(
    make: Make, batch_of: MakeBatch, fusion: str, subsets: list[str], names: set[str]
) -> None:
    modalities = CAMERAS if fusion == "concat" else EVERYTHING
    batch = batch_of(subsets, pids=[0, 0, 1, 1])
    output = make(modalities, fusion=fusion).train()(batch)
    assert set(output.losses) == names
    assert all(torch.isfinite(loss) for loss in output.losses.values())
    assert output.features.shape[0] == 4
    twice = make(modalities, fusion=fusion, triplet_weight=2.0).train()(batch)
    assert float(twice.losses["triplet"].detach()) == pytest.approx(
        2 * float(output.losses["triplet"].detach())
    )
    assert float(twice.losses["id"].detach()) == pytest.approx(float(output.losses["id"].detach()))


def test_sdm_averages_the_pairs_of_modalities_that_rows_share(make: Make, batch_of: MakeBatch) -> None:
    """A pair that no row has does not water the others down."""
    batch = batch_of(["rgb+nir"] * 4, pids=[0, 0, 1, 1])
    model, larger = make("rgb+nir", fusion="mean").train(), make(EVERYTHING, fusion="mean").train()
    larger.load_state_dict(model.state_dict(), strict=False)
    two, many = model(batch), larger(batch)
    assert float(many.losses["sdm"].detach()) == pytest.approx(float(two.losses["sdm"].detach()), rel=1e-5)


@pytest.mark.parametrize("subset", ["rgb", "text", "sketch+text", EVERYTHING])
def test_absent_modalities_leave_the_losses_alone_but_reach_every_parameter(
    make: Make, batch_of: MakeBatch, subset: str
) -> None:
    """DDP needs a gradient for every parameter on every rank, whatever its batch holds."""
    model = make(EVERYTHING, fusion="mean", modality_embedding=True).train()
    output = model(batch_of([subset] * 4, pids=[0, 0, 1, 1]))
    torch.stack(list(output.losses.values())).sum().backward()
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
    text = model.get_parameter("text_tower.text.text_projection").grad
    assert text is not None
    assert bool(text.any()) == ("text" in subset)


@pytest.mark.parametrize(("fusion", "modalities"), REGIMES)
def test_gradients_reach_every_trainable_parameter(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion, modality_embedding=True).train()
    parts = [batch_of([modalities] * 2, pids=[p, p], camera=c, seed=p) for p, c in enumerate((0, 2, UNKNOWN))]
    output = model(join(parts[:2]))
    torch.stack(list(output.losses.values())).sum().backward()
    silent = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert silent == []
    camera = model.get_parameter("class_bias.camera").grad
    assert camera is not None
    assert [bool(row.any()) for row in camera] == [True, False, True]
    assert model.get_parameter("head.norm.bias").grad is None


@pytest.mark.parametrize(("fusion", "modalities"), REGIMES)
def test_one_batch_is_learned_in_thirty_steps(
    make: Make, batch_of: MakeBatch, fusion: str, modalities: str
) -> None:
    model = make(modalities, fusion=fusion, modality_embedding=True, label_smoothing=0.0).train()
    batch = batch_of([modalities] * 8, pids=[0, 0, 1, 1, 2, 2, 3, 3])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history: dict[str, list[float]] = {}
    for _ in range(30):
        losses = model(batch).losses
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        for name, value in losses.items():
            history.setdefault(name, []).append(float(value.detach()))
    for name, values in history.items():
        assert values[-1] < 0.7 * values[0], (name, values)


def test_parameters_are_counted_by_module_and_in_all(make: Make) -> None:
    counts = parameter_counts(make("rgb+nir", fusion="concat", classes=7, cameras=3))
    assert counts["by_module"]["class_bias"] == 3 * 32
    assert counts["by_module"]["head"] == 2 * 32 + 7 * 32
    assert counts["total"] == sum(counts["by_module"].values())
    assert counts["trainable"] == counts["total"] - 32  # the neck's frozen bias
