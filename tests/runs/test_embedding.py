"""One encoder pass for all subsets that need it, and the vectors that a pass for each would give."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reid.config import DataConfig
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.modality import PUBLISHED, Modality, Subset, all_subsets, parse_subset
from reid.models import baseline, mfrnet, signal
from reid.models.base import ModelContext, ReIDModel
from reid.runs.embedding import embed_rows, join_rows

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED
CAMERAS = parse_subset("rgb+nir+tir")
TOWER: dict[str, Any] = {"arch": None, "patch": 8, "width": 32, "layers": 3, "heads": 2, "dim": 16}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "baseline, mean": (baseline, {"name": "baseline", "fusion": "mean"}),
    "baseline, concat": (baseline, {"name": "baseline", "fusion": "concat"}),
    "signal": (signal, {"name": "signal", "sim": {"k1": 4, "heads": 2}, "lam": {"stride": 2}}),
    "mfrnet": (mfrnet, {"name": "mfrnet"}),
    "mfrnet, fused in the second block": (mfrnet, {"name": "mfrnet", "ffm": {"after_block": 1}}),
    "mfrnet without fusion": (mfrnet, {"name": "mfrnet", "ffm": {"enabled": False}}),
    "mfrnet with a capacity": (mfrnet, {"name": "mfrnet", "frm": {"capacity": 1.0}}),
}


def build(name: str) -> ReIDModel:
    torch.manual_seed(3)
    module, fields = MODELS[name]
    config = module.Config.model_validate({**fields, "tower": TOWER})
    model: ReIDModel = module.Model(config, ModelContext(4, 2, 32, 16, CAMERAS)).eval()
    for parameter in model.parameters():  # zero-initialised parts would hide differences
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def part(capture: str, modality: Modality) -> RowPart:
    return RowPart(
        picture(sum(map(ord, capture + modality.value))), capture, camid=ord(capture) % 2, sample_id=capture
    )


def row(capture: str, subset: Subset) -> BatchRow:
    return BatchRow({m: part(capture, m) for m in subset})


@pytest.fixture
def collator() -> Collator:
    data = DataConfig.model_validate(
        {"name": "x", "reader": "synthetic", "modalities": "rgb+nir+tir", "height": 32, "width": 16}
    )
    return Collator(data, {0: 0, 1: 1})


def encoded_pictures(model: ReIDModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the number of pictures of every call of the tower's first layer."""
    seen: list[int] = []
    tower: Any = model.image_tower
    original = tower.patchify

    def counting(images: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(len(images))
        patches: torch.Tensor = original(images, *rest)
        return patches

    monkeypatch.setattr(tower, "patchify", counting)
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_subsets_embedded_together_equal_each_embedded_alone(name: str, collator: Collator) -> None:
    model = build(name)
    batch = collator([row(c, CAMERAS) for c in "abcd"])
    with torch.inference_mode():
        together = model.embed_many(batch, all_subsets(CAMERAS), "query")
        for subset in all_subsets(CAMERAS):
            alone = model.embed(batch.only(subset), "query")
            torch.testing.assert_close(together[subset], alone, atol=1e-5, rtol=0)
            assert together[subset].norm(dim=1).tolist() == pytest.approx([1] * 4, abs=1e-5)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "mfrnet with a capacity"])
def test_the_seven_subsets_of_a_capture_need_each_picture_once(
    name: str, collator: Collator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(name)
    seen = encoded_pictures(model, monkeypatch)
    rows = [row(c, s) for s in all_subsets(CAMERAS) for c in "abcd"]
    vectors = embed_rows(model, collator, rows, "query", 64, torch.device("cpu"))
    assert sum(seen) == 3 * 4  # a pass for each subset would encode 12 pictures a capture
    with torch.inference_mode():
        alone = [model.embed(collator([one]), "query")[0].numpy() for one in rows]
    np.testing.assert_allclose(vectors, np.stack(alone), atol=1e-5)


def test_rows_that_show_one_picture_are_joined_and_all_are_accounted_for() -> None:
    rows = [row("a", (RGB,)), row("b", CAMERAS), row("a", (RGB, NIR)), row("b", (TIR,)), row("c", (NIR,))]
    joined = join_rows(rows)
    assert [sorted(j.row.parts) for j in joined] == [sorted(CAMERAS), ["nir", "rgb"], ["nir"]]
    assert [j.asked for j in joined] == [
        {CAMERAS: [1], (TIR,): [3]},
        {(RGB, NIR): [2], (RGB,): [0]},
        {(NIR,): [4]},
    ]


def test_rows_whose_parts_differ_are_kept_apart() -> None:
    own = BatchRow({RGB: part("a", RGB), NIR: part("a", NIR)})
    borrowed = BatchRow({RGB: part("a", RGB), NIR: part("b", NIR)})
    other_label = BatchRow({RGB: part("a", RGB)}, label=3)
    assert len(join_rows([own, borrowed, other_label])) == 3


def test_equal_rows_are_computed_once_and_given_to_each(collator: Collator) -> None:
    rows = [row("a", (RGB,)), row("b", (RGB,)), row("a", (RGB,))]
    (whole,) = [j for j in join_rows(rows) if len(j.asked[(RGB,)]) == 2]
    assert whole.asked == {(RGB,): [0, 2]}
    vectors = embed_rows(build("signal"), collator, rows, "query", 64, torch.device("cpu"))
    assert np.array_equal(vectors[0], vectors[2]) and not np.allclose(vectors[0], vectors[1])


def test_no_row_gives_no_vector(collator: Collator) -> None:
    model = build("signal")
    assert embed_rows(model, collator, [], "query", 8, torch.device("cpu")).shape == (0, model.dim)


def test_the_model_is_left_in_the_mode_it_was_in(collator: Collator) -> None:
    model = build("signal").train()
    embed_rows(model, collator, [row("a", CAMERAS)], "gallery", 8, torch.device("cpu"))
    assert model.training
