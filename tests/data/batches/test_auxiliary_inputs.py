"""Captions and masks beside the modalities: who has one, how they move, and what batches carry of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid.config import AugmentConfig
from reid.data.batches.auxiliary_inputs import attach_auxiliary, decode_mask
from reid.data.batches.batch import join
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.data.batches.sample_rows import Pick, row_of_sample
from reid.data.batches.tokens import tokenize
from reid.data.images import encode_jpeg, encode_mask, encode_png
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample
from reid.errors import ConfigError, DataError
from reid.modality import ORDER, Modality, parse_subset
from tests.support.sets.shards import SIDE, data_config

RGB, NIR, TIR = parse_subset("rgb+nir+tir")
BOTH = frozenset({"caption", "mask"})
END = 49407


def shape(top: int, left: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """A mask of one small square."""
    mask = np.zeros(size, bool)
    mask[top : top + 2, left : left + 2] = True
    return mask


def row(mask: np.ndarray | bytes | None = None, caption: str | None = None) -> BatchRow:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    if isinstance(mask, np.ndarray) and mask.shape == (SIDE, SIDE):
        pixels[mask] = 255  # the object is bright: pictures tell where it went
    parts = {m: RowPart(encode_png(pixels), f"photo-{m.value}") for m in (RGB, NIR)}
    encoded = encode_mask(mask) if isinstance(mask, np.ndarray) else mask
    return BatchRow(parts, 0, None if caption is None else RowPart(caption, "c"), encoded)


def collator(augment: AugmentConfig | None = None, auxiliary: frozenset[str] = BOTH) -> Collator:
    return Collator(data_config(ORDER), augment=augment, auxiliary=auxiliary)


def test_rows_without_an_input_are_marked_and_zero() -> None:
    batch = collator()([row(shape(1, 1), "a man in red"), row(), row(None, "a dog")])
    assert batch.caption is not None and batch.mask is not None
    assert batch.caption_present is not None and batch.mask_present is not None
    assert batch.caption.dtype == torch.int64 and batch.caption.shape == (3, 77)
    assert batch.mask.dtype == torch.float32 and batch.mask.shape == (3, 1, SIDE, SIDE)
    assert batch.caption_present.tolist() == [True, False, True]
    assert batch.mask_present.tolist() == [True, False, False]
    assert torch.equal(batch.caption[[0, 2]], tokenize(["a man in red", "a dog"]))
    assert not batch.caption[1].any() and not batch.mask[1:].any()
    assert batch.mask[0, 0].bool().tolist() == shape(1, 1).tolist()
    assert batch.tokens is None, "a caption is no modality"


def test_batches_carry_only_what_is_asked_for() -> None:
    rows = [row(shape(1, 1), "a man")]
    plain = collator(auxiliary=frozenset())(rows)
    assert plain.caption is plain.mask is plain.caption_present is plain.mask_present is None
    captions = collator(auxiliary=frozenset({"caption"}))(rows)
    assert captions.caption is not None and captions.mask is None
    nothing = collator()([row(), row()])
    assert nothing.caption_present is not None and not nothing.caption_present.any()


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_caption_is_none(text: str) -> None:
    batch = collator()([row(None, text), row(None, "a man")])
    assert batch.caption_present is not None
    assert batch.caption_present.tolist() == [False, True]


def test_a_caption_over_77_tokens_is_cut_and_keeps_its_end() -> None:
    batch = collator()([row(None, "red shirt " * 60)])
    assert batch.caption is not None
    assert batch.caption[0, -1] == END


def test_a_mask_moves_with_its_rows_pictures() -> None:
    augment = AugmentConfig(flip=0.5, pad=2, erase=0)
    rows = [row(shape(2, 1)) for _ in range(40)]
    batch = collator(augment)(rows, np.random.default_rng(3))
    assert batch.mask is not None
    for modality in (RGB, NIR):
        bright = batch.images[modality][:, :1] > 100
        assert torch.equal(batch.mask.bool(), bright)
    assert len({tuple(m.flatten().tolist()) for m in batch.mask}) > 10
    again = collator(augment, frozenset())(rows, np.random.default_rng(3))
    assert torch.equal(again.images[RGB], batch.images[RGB]), "masks draw nothing of their own"


def test_pictures_that_move_apart_cannot_share_a_mask() -> None:
    apart = AugmentConfig(geometry="independent")
    with pytest.raises(ConfigError, match=r"train\.augment\.geometry.*set it to shared"):
        collator(apart)
    collator(apart, frozenset({"caption"}))


@pytest.mark.parametrize("factor", [2, 5])
def test_a_mask_of_another_size_is_resampled_by_nearest(factor: int) -> None:
    large = shape(1, 3).repeat(factor, 0).repeat(factor, 1)
    found = decode_mask(encode_mask(large), "m", (SIDE, SIDE))
    assert found.astype(bool).tolist() == shape(1, 3).tolist()
    assert set(np.unique(decode_mask(encode_mask(shape(0, 0)), "m", (7, 31))).tolist()) <= {0, 1}


def test_grey_masks_are_cut_at_half() -> None:
    grey = np.array([[0, 120], [130, 255]], np.uint8)
    assert decode_mask(encode_png(grey), "m", (2, 2)).tolist() == [[0, 0], [1, 1]]
    assert decode_mask(encode_jpeg(np.full((8, 8), 250, np.uint8)), "m", (8, 8)).all()


def test_a_broken_mask_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match="mask of photo-rgb"):
        collator()([row(b"no picture")])


def test_joined_batches_keep_their_inputs_and_batches_without_any_have_none() -> None:
    rows = [row(shape(1, 1), "a man"), row(None, "a dog"), row(shape(0, 4))]
    whole = collator()(rows)
    joined = join([collator()(rows[:1]), collator()(rows[1:])])
    for name in ("caption", "caption_present", "mask", "mask_present"):
        assert torch.equal(getattr(whole, name), getattr(joined, name)), name
    mixed = join([collator()(rows[:1]), collator(auxiliary=frozenset())(rows[1:])])
    assert mixed.caption_present is not None and mixed.mask is not None
    assert mixed.caption_present.tolist() == [True, False, False]
    assert mixed.mask.shape[0] == 3
    assert join([collator(auxiliary=frozenset())(rows)] * 2).caption is None
    moved = whole.to("meta")
    assert moved.caption is not None and moved.caption.is_meta and moved.mask is not None


def sample(captions: int = 3, mask: bool = True) -> Sample:
    return Sample(
        Labels("s", "d", "train", 0),
        {RGB: Image(encode_png(np.zeros((4, 4, 3), np.uint8)), 4, 4)},
        tuple(Caption(f"caption {i}") for i in range(captions)),
        Mask(encode_mask(shape(0, 0))) if mask else None,
    )


def test_a_row_takes_the_inputs_of_its_sample() -> None:
    bare = BatchRow({})
    whole = attach_auxiliary(bare, sample())
    assert whole.caption is not None and whole.caption.content == "caption 0"
    assert whole.mask == encode_mask(shape(0, 0))
    assert attach_auxiliary(bare, sample(), 2).caption.content == "caption 2"  # type: ignore[union-attr]
    lacking = attach_auxiliary(whole, sample(0, mask=False))
    assert lacking.caption is lacking.mask is None


def test_training_rows_take_any_caption_of_the_anchor_and_draw_nothing_for_it() -> None:
    anchor = sample()
    pick = Pick(anchor, [anchor], (RGB, Modality.NIR))
    source, silent = np.random.default_rng(1), np.random.default_rng(1)
    found = {str(row_of_sample(pick, 0, 0.0, source).caption.content) for _ in range(40)}  # type: ignore[union-attr]
    assert found == {"caption 0", "caption 1", "caption 2"}
    one = Pick(sample(1), [sample(1)], (RGB, Modality.NIR))
    for _ in range(40):
        row_of_sample(one, 0, 0.0, silent)
    assert source.random() == silent.random()
