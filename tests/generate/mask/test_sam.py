"""Masks by a promptable segmenter: prompting, choice, fusion, and both libraries at a tiny size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reid.config import GenerateConfig
from reid.data.images import Pixels
from reid.errors import DataError, WeightsError
from reid.generate.mask.candidates import choose_candidate, fuse_masks
from reid.generate.mask.prompts import Prompt, prompt_for
from reid.generate.mask.sam import MaskSam
from reid.generate.mask.segmenters import Candidates, SegmentAnything, TransformersSam
from reid.generate.registry import GeneratedMask, GeneratorInput, bind
from reid.modality import Modality, Target
from tests.support.models.tiny_sam import save_sam, save_sam2

NOISE = np.random.default_rng(3).integers(0, 256, (40, 24, 3)).astype(np.uint8)
RGB, NIR, TIR = Modality.RGB, Modality.NIR, Modality.TIR


def source(**images: Pixels) -> GeneratorInput:
    return GeneratorInput(
        "capture", {Modality(k): v for k, v in images.items()}, None, np.random.default_rng(0)
    )


def disc(share: float, size: int = 40) -> Any:
    """A centred square of that share of the picture."""
    mask = np.zeros((size, size), bool)
    half = round(size * share**0.5 / 2)
    mask[size // 2 - half : size // 2 + half, size // 2 - half : size // 2 + half] = True
    return mask


# Prompting


def test_a_person_is_pointed_at_from_chest_to_legs_and_not_at_the_corners() -> None:
    prompt = prompt_for(101, 51, "person")
    assert prompt.points[:3] == ((25, 30), (25, 50), (25, 70))
    assert set(prompt.points[3:]) == {(0, 0), (50, 0), (0, 100), (50, 100)}
    assert prompt.labels == (1, 1, 1, 0, 0, 0, 0)
    assert prompt.box == pytest.approx((1.5, 3, 48.5, 97))


def test_a_vehicle_is_pointed_at_in_its_centre_only() -> None:
    prompt = prompt_for(101, 201, "vehicle")
    assert [p for p, label in zip(prompt.points, prompt.labels, strict=True) if label] == [(100, 50)]


# Choice


def test_the_best_scored_plausible_mask_is_chosen() -> None:
    masks = np.stack([disc(0.02), disc(0.3), disc(0.5), disc(1.0)])
    made = choose_candidate(masks, np.array([0.99, 0.7, 0.8, 0.98]))
    assert made is not None and made.score == pytest.approx(0.8)
    assert np.array_equal(made.mask, masks[2])


def test_a_mask_beside_the_centre_or_of_no_score_never_fits() -> None:
    beside = disc(0.3)
    beside[20, 20] = False
    assert choose_candidate(np.stack([beside, disc(0.3)]), np.array([0.9, np.nan])) is None


def test_masks_of_several_modalities_are_fused_as_asked() -> None:
    small, large = GeneratedMask(disc(0.2), 0.5), GeneratedMask(disc(0.6), 0.9)
    assert fuse_masks([small, large], "first") is small
    assert fuse_masks([small, large], "best_score") is large
    assert np.array_equal(fuse_masks([small, large], "union").mask, large.mask)
    assert np.array_equal(fuse_masks([small, large, small], "majority").mask, small.mask)
    assert fuse_masks([small, large], "union").score == pytest.approx(0.7)


# The generator, with a segmenter that is told what to find


class Told:
    """Finds a centred square of 30 % in bright pictures, nothing plausible in dark ones."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, pictures: Sequence[Pixels], prompts: Sequence[Prompt]) -> list[Candidates]:
        self.asked.append(len(pictures))
        return [self.one(p) for p in pictures]

    def one(self, picture: Pixels) -> Candidates:
        share = 0.3 if picture.mean() > 100 else 1.0
        return np.stack([disc(share, len(picture))]), np.array([picture.mean() / 255])


DARK, BRIGHT = np.full((40, 40, 3), 10, np.uint8), np.full((40, 40, 3), 200, np.uint8)


@pytest.fixture
def told(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> Told:
    segmenter = Told()
    monkeypatch.setattr("reid.generate.mask.sam.load_segmenter", lambda *_: segmenter)
    return segmenter


def test_the_next_modality_is_asked_only_where_the_last_one_failed(told: Told) -> None:
    sources = [source(rgb=DARK, nir=BRIGHT, tir=BRIGHT), source(rgb=BRIGHT, nir=BRIGHT)]
    made = MaskSam(weights="x")(sources)
    assert told.asked == [2, 1]  # both RGB pictures at once, one NIR, no TIR
    assert [m.score for m in made if isinstance(m, GeneratedMask)] == pytest.approx([200 / 255] * 2)


def test_a_mask_of_another_modality_gets_the_size_of_the_rgb_picture(told: Told) -> None:
    (made,) = MaskSam(weights="x")([source(rgb=DARK, nir=np.full((80, 80, 3), 200, np.uint8))])
    assert isinstance(made, GeneratedMask)
    assert made.mask.shape == (40, 40)
    assert made.mask.mean() == pytest.approx(0.3, abs=0.05)


def test_a_capture_without_rgb_is_masked_on_what_it_has(told: Told) -> None:
    (made,) = MaskSam(weights="x")([source(tir=BRIGHT)])
    assert isinstance(made, GeneratedMask) and made.score


def test_where_nothing_fits_the_prior_is_used_and_marked_by_a_score_of_zero(told: Told) -> None:
    (made,) = MaskSam(weights="x")([source(rgb=DARK, nir=DARK)])
    assert isinstance(made, GeneratedMask)
    assert made.score == 0 and made.mask.shape == (40, 40)


def test_where_nothing_fits_the_row_can_be_set_aside_with_its_reason(told: Told) -> None:
    (made,) = MaskSam(weights="x", otherwise="set_aside")([source(rgb=DARK, nir=DARK)])
    assert isinstance(made, DataError)
    assert str(made) == "capture: mask_sam found no mask that fits (tried rgb, nir)."


# segment-anything


def tiny_sam() -> Any:
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(1)
    sam = Sam(
        ImageEncoderViT(
            img_size=64,
            embed_dim=16,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # as in the published networks
            window_size=3,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(32, (4, 4), (64, 64), 8),
        MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=1, embedding_dim=32, num_heads=8, mlp_dim=24),
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
    )
    return sam.eval()


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    path = tmp_path / "sam.pth"
    torch.save(tiny_sam().state_dict(), path)
    return str(path)


def test_the_batched_path_gives_what_the_librarys_predictor_gives(checkpoint: str) -> None:
    from segment_anything import SamPredictor

    pictures = [NOISE, np.ascontiguousarray(NOISE[:, ::-1])]
    prompts = [prompt_for(40, 24, "person")] * 2
    made = SegmentAnything(checkpoint, "cpu")(pictures, prompts)
    predictor = SamPredictor(tiny_sam())
    for picture, prompt, (masks, scores) in zip(pictures, prompts, made, strict=True):
        predictor.set_image(picture)
        expected, quality, _ = predictor.predict(
            np.array(prompt.points), np.array(prompt.labels), np.array(prompt.box)
        )
        assert masks.shape == (3, 40, 24)
        assert np.array_equal(masks, expected)
        assert scores == pytest.approx(quality, abs=1e-5)


def test_a_capture_goes_through_the_whole_generator(checkpoint: str) -> None:
    section = GenerateConfig(generator="mask_sam", params={"weights": checkpoint, "fuse": "union"})
    made = bind(Target.MASK, section).load()([source(rgb=NOISE), source(nir=NOISE)])
    assert all(
        isinstance(m, GeneratedMask) and m.mask.shape == (40, 24) and m.mask.dtype == bool for m in made
    )


def test_a_missing_checkpoint_names_the_three_remedies() -> None:
    with pytest.raises(WeightsError, match=r"\(1\).*\(2\).*\(3\)"):
        MaskSam(weights="sam_vit_b.pth")
    with pytest.raises(WeightsError, match=r"\(1\).*\(2\).*\(3\)"):
        MaskSam(weights="somebody/sam-of-nobody")


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not a segment-anything checkpoint"):
        MaskSam(weights=str(tmp_path / "other.pth"))


# transformers


@pytest.mark.parametrize("save", [save_sam, save_sam2])
def test_a_transformers_model_gives_three_masks_a_picture_whatever_its_size(
    save: Any, tmp_path: Path
) -> None:
    save(tmp_path)
    segment = TransformersSam(str(tmp_path), "cpu")
    pictures = [NOISE, np.ascontiguousarray(NOISE[:24])]
    prompts = [prompt_for(40, 24, "person"), prompt_for(24, 24, "person")]
    together = segment(pictures, prompts)
    for picture, prompt, (masks, scores) in zip(pictures, prompts, together, strict=True):
        assert masks.shape == (3, *picture.shape[:2]) and masks.dtype == bool
        ((alone, quality),) = segment([picture], [prompt])
        assert scores == pytest.approx(quality, abs=1e-4)
        assert (masks == alone).mean() > 0.99
    (made,) = MaskSam(weights=str(tmp_path))([source(rgb=NOISE)])
    assert isinstance(made, GeneratedMask) and made.mask.shape == (40, 24)


def test_a_folder_that_lacks_tensors_is_refused_and_not_filled_with_random_ones(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_sam(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state.pop("mask_decoder.iou_token.weight")
    save_file(state, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 tensors are missing, first 'mask_decoder\.iou_token\.weight'"):
        MaskSam(weights=str(tmp_path))


def test_one_file_of_a_transformers_folder_is_told_to_need_its_folder(tmp_path: Path) -> None:
    save_sam(tmp_path)
    with pytest.raises(WeightsError, match=r"SamModel, which is loaded from the folder that save_pretrained"):
        MaskSam(weights=str(tmp_path / "model.safetensors"))


def test_a_pointer_or_a_broken_tensor_in_a_folder_is_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_sam(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state["mask_decoder.iou_token.weight"][0, 0] = float("nan")
    save_file(state, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 tensors hold NaN or infinity, first 'mask_decoder\.iou_token"):
        MaskSam(weights=str(tmp_path))
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(WeightsError, match=r"model\.safetensors: a Git LFS pointer.*git lfs pull"):
        MaskSam(weights=str(tmp_path))


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="not a SAM-like transformers model"):
        MaskSam(weights=str(tmp_path))
