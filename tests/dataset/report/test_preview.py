"""The contact sheet: which rows it shows, and what it says of each."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.data.images import encode_mask
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample, SampleAttribute
from reid.data.shards.shard_set import ShardSet
from reid.dataset.report.preview import TINT, choose_preview, render_preview
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.shards import flat_picture, make_identities, make_shards


@pytest.fixture
def plain(tmp_path: Path) -> ShardSet:
    train = make_identities([4, 3, 5, 2, 6])
    test = make_identities([2, 2], split="test")
    return make_shards(tmp_path / "set", [train[:7], train[7:], test], rows_per_group=5)


def names(shards: ShardSet, *args: object, **fields: object) -> list[str]:
    return [s.labels.sample_id for s in choose_preview(shards, *args, **fields).samples]  # type: ignore[arg-type]


def test_rows_are_drawn_over_the_whole_set_and_repeat_with_the_seed(plain: ShardSet) -> None:
    assert choose_preview(plain, 6).rows == 24
    assert names(plain, 6) == names(plain, 6)
    assert len(set(names(plain, 6))) == 6
    assert len({tuple(names(plain, 6, seed=seed)) for seed in range(5)}) > 1
    assert len(names(plain, 100)) == 24, "never more than there are"
    drawn = [name for seed in range(200) for name in names(plain, 3, "train", seed)]
    assert len(set(drawn)) == 20, "every row has its chance"


def test_only_the_row_groups_of_drawn_rows_are_read(plain: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = ShardSet.read_group
    monkeypatch.setattr(
        ShardSet, "read_group", lambda self, group: (read.append(group.rows), whole(self, group))[1]
    )
    choose_preview(plain, 1)
    assert len(read) == 1


def test_a_split_can_be_chosen_and_an_empty_one_is_told(plain: ShardSet) -> None:
    assert {s.labels.split for s in choose_preview(plain, 4, "test").samples} == {"test"}
    with pytest.raises(DataError, match="no row in split 'val'; splits with rows: train, test"):
        choose_preview(plain, 4, "val")


def test_by_identity_shows_rows_of_few_identities_together(plain: ShardSet) -> None:
    chosen = choose_preview(plain, 8, "train", by_identity=True).samples
    pids = [s.labels.pid for s in chosen]
    assert len(pids) == 8 and len(set(pids)) <= 4
    assert len({s.labels.sample_id for s in chosen}) == 8
    page = render_preview(plain, choose_preview(plain, 8, "train", by_identity=True), by_identity=True)
    assert len(re.findall(r"<h2>Identity \d+</h2>", page)) == len(set(pids))


def rich(broken: bool = False) -> Sample:
    grey = Image(flat_picture((90, 90, 90), 128, 128), 128, 128)
    made = Image(b"no picture" if broken else grey.image, 128, 128, "generated", "sketch_x", "abc", "k1")
    mask = np.zeros((128, 128), dtype=bool)
    mask[32:96, 32:96] = True
    return Sample(
        Labels(
            "k<1>",
            "made",
            "train",
            7,
            ("query",),
            2,
            attributes=(SampleAttribute("hat", "red", 0.9, "RGB"), SampleAttribute("hat", "blue", 0.8, "NI")),
            extra={"shelf": "left & right"},
        ),
        {Modality.RGB: grey, Modality.SKETCH: made},
        (Caption("A <b>red</b> hat.", 0.75, "generated", "cap_x"), Caption("unknown")),
        Mask(encode_mask(mask), 0.5, "generated", "mask_x"),
    )


def page_of(tmp_path: Path, sample: Sample) -> str:
    shards = make_shards(tmp_path / "set", [[sample]])
    return render_preview(shards, choose_preview(shards, 5))


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    return [
        np.asarray(PILImage.open(io.BytesIO(base64.b64decode(f))).convert("RGB")).astype(int) for f in found
    ]


def test_a_row_shows_all_that_is_known_of_it_escaped(tmp_path: Path) -> None:
    page = page_of(tmp_path, rich())
    for words in (
        "k&lt;1&gt;",
        "identity 7 · train · query · camera 2",
        "A &lt;b&gt;red&lt;/b&gt; hat.",
        "confidence 0.75",
        "does not know: unknown",
        "hat is red (RGB), blue (NI)",
        "<i>hat</i> red <i>RGB 0.90</i>",
        "<dt>shelf</dt><dd>left &amp; right</dd>",
        "25 % inside, score 0.50",
        'title="generated, sketch_x, parameters abc, from k1">sketch_x<',
    ):
        assert words in page, words
    assert page.count('class="badge captured"') == 1 + 2, "the legend, RGB and one caption"
    assert "<script" not in page and not re.search(r"(?:src|href)=[\"'](?!data:)", page)


def test_the_mask_is_tinted_on_the_picture_and_the_rest_is_dimmed(tmp_path: Path) -> None:
    rgb, mask, _ = pictures(page_of(tmp_path, rich()))
    inside, outside = mask[64, 64], mask[8, 8]
    assert np.abs(rgb[64, 64] - 90).max() <= 2
    assert np.abs(outside - 0.45 * 90).max() <= 3
    assert np.abs(inside - (0.65 * 90 + 0.35 * np.array(TINT))).max() <= 4


def test_a_picture_that_cannot_be_decoded_is_told_in_its_place(tmp_path: Path) -> None:
    page = page_of(tmp_path, rich(broken=True))
    assert "sketch of k&lt;1&gt;: not an image" in page
    assert len(pictures(page)) == 2
