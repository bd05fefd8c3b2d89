"""Rows to batches: the packed layout, labels, tokens, the pixel cache, and what augmentation shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reid.config import AugmentConfig, ResizeFilter
from reid.data.batches import collate
from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator, PixelCache
from reid.data.batches.tokens import tokenize
from reid.data.images import decode_rgb, encode_png
from reid.errors import DataError
from reid.modality import ORDER, PUBLISHED, Modality
from tests.support.sets.shards import SIDE, data_config, flat_picture

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED
START, END = 49406, 49407


def part(value: int, name: str | None = None, camid: int | None = None, viewid: int | None = None) -> RowPart:
    """A picture of one grey value."""
    return RowPart(
        flat_picture((value, value, value)), name or f"n{value}", camid, viewid, name or f"n{value}"
    )


def rows_of(*values: dict[Modality, int]) -> list[BatchRow]:
    return [BatchRow({m: part(v) for m, v in row.items()}, i) for i, row in enumerate(values)]


def collator(
    augment: AugmentConfig | None = None, cache: PixelCache | None = None, **fields: object
) -> Collator:
    return Collator(data_config(ORDER, **fields), {30: 0, 10: 1}, augment, cache=cache)


def test_images_are_packed_per_modality_with_an_index_back_to_the_row() -> None:
    batch = collator()(rows_of({RGB: 1, TIR: 2}, {TIR: 3}, {RGB: 4}, {NIR: 5, TIR: 6}))
    assert len(batch) == 4
    assert {m.value: rows.tolist() for m, rows in batch.index.items()} == {
        "rgb": [0, 2],
        "nir": [3],
        "tir": [0, 1, 3],
    }
    assert {m.value: x[:, 0, 0, 0].round().tolist() for m, x in batch.images.items()} == {
        "rgb": [1, 4],
        "nir": [5],
        "tir": [2, 3, 6],
    }
    assert all(x.shape[1:] == (3, SIDE, SIDE) and x.dtype == torch.float32 for x in batch.images.values())
    rows = [{RGB, TIR}, {TIR}, {RGB}, {NIR, TIR}]
    assert batch.present.tolist() == [[m in row for m in ORDER] for row in rows]
    assert batch.modalities == (RGB, NIR, TIR)
    assert batch.pid.tolist() == [0, 1, 2, 3]
    assert batch.sample_id[0] == ("n1", None, "n2", *[None] * (len(ORDER) - 3))
    assert batch.tokens is None
    assert batch.full(TIR) is batch.full(SKETCH) is False


def test_cameras_become_contiguous_and_the_unknown_is_marked() -> None:
    parts = [
        {RGB: part(1, camid=10, viewid=3), NIR: part(2, camid=30)},
        {RGB: part(3, camid=99), NIR: part(4)},
    ]
    batch = collator()([BatchRow(p) for p in parts])
    nobody = [UNKNOWN] * (len(ORDER) - 2)
    assert batch.camid.tolist() == [[1, 0, *nobody], [UNKNOWN, UNKNOWN, *nobody]]
    assert batch.viewid.tolist() == [[3, UNKNOWN, *nobody], [UNKNOWN, UNKNOWN, *nobody]]
    assert batch.cameras(NIR).tolist() == [0, UNKNOWN]
    assert batch.pid.tolist() == [UNKNOWN, UNKNOWN], "outside training nobody has a label"


def test_only_hides_modalities_and_require_asks_for_them() -> None:
    batch = collator()(rows_of({RGB: 1, TIR: 2}, {TIR: 3}))
    hidden = batch.only([TIR])
    assert hidden.modalities == (TIR,)
    assert hidden.present.sum().item() == 2
    hidden.require([TIR])
    with pytest.raises(DataError, match=r"needs rgb; this batch has rgb\+tir \(in some rows\)"):
        batch.require([RGB])


def test_joined_batches_are_the_batch_of_the_joined_rows() -> None:
    rows = rows_of({RGB: 1, TIR: 2}, {TIR: 3}, {RGB: 4}, {NIR: 5, TIR: 6})
    rows[2] = BatchRow({TEXT: RowPart("a man", "t"), RGB: rows[2].parts[RGB]}, 2)
    whole, joined = collator()(rows), join([collator()(rows[:1]), collator()(rows[1:])])
    assert_equal(whole, joined)


def assert_equal(one: Batch, two: Batch) -> None:
    for name in ("pid", "present", "camid", "viewid"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert one.sample_id == two.sample_id
    for name in ("images", "index"):
        left, right = getattr(one, name), getattr(two, name)
        assert list(left) == list(right)
        assert all(torch.equal(left[m], right[m]) for m in left), name
    assert (one.tokens is None) == (two.tokens is None)
    assert one.tokens is None or torch.equal(one.tokens, two.tokens)


def test_sentences_become_tokens_of_the_rows_that_have_one() -> None:
    words = BatchRow({TEXT: RowPart("a man in red", "t"), RGB: part(1)})
    batch = collator()([BatchRow({RGB: part(2)}), words, BatchRow({TEXT: RowPart("a dog", "u")})])
    assert batch.index[TEXT].tolist() == [1, 2]
    assert batch.tokens is not None
    assert batch.tokens.shape == (2, 77)
    assert batch.tokens.dtype == torch.int64
    assert torch.equal(batch.tokens, tokenize(["a man in red", "a dog"]))
    assert batch.tokens[:, 0].tolist() == [START, START]
    assert [int((row == END).nonzero()[0]) for row in batch.tokens] == [5, 3]


@pytest.mark.parametrize("words", [75, 76, 300])
def test_a_long_sentence_is_cut_and_keeps_its_end(words: int) -> None:
    tokens = tokenize(["cat " * words])[0]
    assert (tokens[0], tokens[-1]) == (START, END)
    assert len(tokens) == 77
    assert len(set(tokens[1:-1].tolist())) == 1, "the beginning of the sentence is kept"


def test_a_picture_that_cannot_be_read_is_named() -> None:
    with pytest.raises(DataError, match=r"folder/a\.jpg"):
        collator()([BatchRow({RGB: RowPart(b"broken", "folder/a.jpg")})])


def test_pictures_of_any_size_get_the_configured_one() -> None:
    large = RowPart(encode_png(np.full((40, 30, 3), 90, np.uint8)), "large")
    batch = collator(height=16, width=12)([BatchRow({RGB: large})])
    assert batch.images[RGB].shape == (1, 3, 16, 12)
    assert batch.images[RGB].round().unique().tolist() == [90]


ROUGH = encode_png(np.random.default_rng(0).integers(0, 256, (3 * SIDE, 2 * SIDE, 3), dtype=np.uint8))
STILL = {"flip": 0, "pad": 0, "erase": 0}


def resized(found: Batch) -> list[list[list[list[float]]]]:
    """The pixels of the only RGB picture of a batch, (3, SIDE, SIDE)."""
    return found.images[RGB][0].round().tolist()


def test_training_and_evaluation_resize_with_their_own_filters() -> None:
    row = BatchRow({RGB: RowPart(ROUGH, "rough")})
    train = collator(AugmentConfig(resize="nearest", **STILL), resize="bilinear")
    test = collator(resize="bilinear")
    default = collator(AugmentConfig(**STILL))
    cases: list[tuple[Collator, ResizeFilter]] = [
        (train, "nearest"),
        (test, "bilinear"),
        (default, "bicubic"),
        (collator(), "bicubic"),
    ]
    for made, name in cases:
        expected = decode_rgb(ROUGH, "rough", (SIDE, SIDE), name).transpose(2, 0, 1)
        assert resized(made([row])) == expected.tolist(), name


def test_collators_with_other_filters_or_sizes_may_share_a_cache() -> None:
    cache = PixelCache(10**6)
    row = BatchRow({RGB: RowPart(ROUGH, "rough")})
    for _ in range(2):
        for fields in ({"resize": "bilinear"}, {"resize": "bicubic"}, {"height": 9, "width": 10}):
            shared, alone = collator(cache=cache, **fields)([row]), collator(**fields)([row])
            assert torch.equal(shared.images[RGB], alone.images[RGB])
        moving = collator(AugmentConfig(resize="lanczos", **STILL), cache)([row])
        assert resized(moving) == resized(collator(resize="lanczos")([row]))


def test_evaluation_draws_nothing() -> None:
    rows = rows_of({RGB: 1, TIR: 2}, {TIR: 3})
    one = collator()(rows, np.random.default_rng(1))
    assert_equal(one, collator()(rows, np.random.default_rng(2)))
    assert_equal(one, collator()(rows))


def test_augmentation_is_a_function_of_the_generator() -> None:
    rows = rows_of({RGB: 1, TIR: 2}, {TIR: 3})
    train = collator(AugmentConfig(pad=2, erase=1))
    one = train(rows, np.random.default_rng(1))
    assert_equal(one, train(rows, np.random.default_rng(1)))
    other = train(rows, np.random.default_rng(2))
    assert not torch.equal(one.images[TIR], other.images[TIR])


MARKED = np.zeros((SIDE, SIDE, 3), np.uint8)
MARKED[2, 1] = 200
"""One bright pixel off every axis of symmetry: where it lands tells the draw."""


def landings(geometry: str, count: int = 60) -> list[list[tuple[int, ...] | None]]:
    """Where the bright pixel went, for each row in each of three modalities."""
    row = BatchRow({m: RowPart(encode_png(MARKED), m.value) for m in (RGB, NIR, TIR)})
    augment = AugmentConfig(geometry=geometry, pad=1, erase=0)
    batch = collator(augment)([row] * count, np.random.default_rng(0))

    def find(image: torch.Tensor) -> tuple[int, ...] | None:
        where = (image[0] > 100).nonzero()
        return tuple(where[0].tolist()) if len(where) else None

    return [[find(batch.images[m][r]) for m in (RGB, NIR, TIR)] for r in range(count)]


def test_shared_geometry_is_one_draw_a_row() -> None:
    found = landings("shared")
    assert all(len(set(row)) == 1 for row in found)
    assert len({row[0] for row in found}) > 12, "3 x 3 offsets, two sides"


def test_independent_geometry_is_one_draw_a_picture() -> None:
    found = landings("independent")
    assert sum(len(set(row)) == 1 for row in found) < 10
    for column in range(3):
        assert len({row[column] for row in found}) > 12


def test_independent_flips_agree_in_three_modalities_a_quarter_of_the_time() -> None:
    sides = [
        [place is not None and place[1] > SIDE // 2 for place in row] for row in landings("independent", 1000)
    ]
    share = np.mean([len(set(row)) == 1 for row in sides])
    assert abs(share - 0.25) < 0.05
    assert abs(np.mean(sides) - 0.5) < 0.03
    assert all(len({place[1] > SIDE // 2 for place in row if place}) == 1 for row in landings("shared"))


def test_shared_geometry_holds_for_rows_with_gaps() -> None:
    marked = {m: RowPart(encode_png(MARKED), m.value) for m in (RGB, NIR)}
    rows = [BatchRow(marked if i % 2 else {NIR: marked[NIR]}) for i in range(40)]
    batch = collator(AugmentConfig(pad=1, erase=0))(rows, np.random.default_rng(0))
    both = [i for i in range(40) if i % 2]
    assert torch.equal(batch.images[RGB], batch.images[NIR][both])


def test_erasing_is_never_shared() -> None:
    row = BatchRow({m: RowPart(encode_png(MARKED), m.value) for m in (RGB, NIR)})
    batch = collator(AugmentConfig(pad=0, flip=0, erase=1))([row] * 20, np.random.default_rng(0))
    same = [torch.equal(a, b) for a, b in zip(batch.images[RGB], batch.images[NIR], strict=True)]
    assert not any(same)


# The pixel cache.


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    decoded: list[str] = []
    decode = collate.decode_rgb

    def note(data: bytes, source: str, *how: Any) -> np.ndarray:
        decoded.append(source)
        return decode(data, source, *how)

    monkeypatch.setattr(collate, "decode_rgb", note)
    return decoded


def test_the_cache_saves_decoding_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decodes(monkeypatch)
    rows = rows_of({RGB: 1, TIR: 2}, {TIR: 3})
    cached = collator(AugmentConfig(pad=1), PixelCache(10**6))
    plain = collator(AugmentConfig(pad=1))
    for step in range(3):
        assert_equal(cached(rows, np.random.default_rng(step)), plain(rows, np.random.default_rng(step)))
    assert len(decoded) == 3 + 3 * 3


def test_modalities_of_one_sample_are_cached_apart() -> None:
    cached = collator(cache=PixelCache(10**6))
    row = BatchRow({RGB: part(1, "same"), TIR: part(2, "same")})
    for _ in range(2):
        batch = cached([row])
        assert batch.images[RGB].round().unique().tolist() == [1]
        assert batch.images[TIR].round().unique().tolist() == [2]
