"""The numbers of a set, and the page that shows them."""

from __future__ import annotations

import html.parser
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.data.images import encode_mask
from reid.data.shards.schema import Caption, Image, Mask, Sample, SampleAttribute
from reid.data.shards.shard_set import ShardSet
from reid.dataset.report.charts import columns, meters
from reid.dataset.report.statistics import statistics, summary
from reid.dataset.report.statistics_page import render_statistics, size_of, text_lines
from reid.modality import Modality
from tests.support.sets.shards import flat_picture, make_sample, make_shards

RGB, SKETCH = Modality.RGB, Modality.SKETCH


def changed(sample: Sample, **fields: Any) -> Sample:
    return Sample(**{**vars(sample), **fields})


def samples() -> list[list[Sample]]:
    """Identity 0: three rows of two cameras; 1: one row without a camera; 2 (test): two of one camera."""
    made = Image(flat_picture((1, 1, 1)), 8, 8, "generated", "sketch_x", "abc", "p0-0")
    with_sketch = make_sample(0, 0, camid=0)
    with_sketch = changed(with_sketch, images={**with_sketch.images, SKETCH: made})
    wide = changed(
        make_sample(0, 1, camid=0),
        images={RGB: Image(flat_picture((1, 2, 3), 8, 20), 20, 8)},
        captions=(Caption("a red hat", 0.93), Caption("The bag is unknown", 0.2, "generated", "cap")),
    )
    masked = changed(
        make_sample(
            0, 2, camid=3, attributes=(SampleAttribute("hat", "red"), SampleAttribute("hat", "unknown"))
        ),
        mask=Mask(encode_mask(np.eye(8) > 0), 0.75, "generated", "mask_x"),
    )
    alone = changed(make_sample(1), captions=(Caption("A  Red hat"),))
    text = changed(make_sample(2, 0, (), split="test", camid=1, roles=("query",)), captions=(Caption("b"),))
    return [[with_sketch, wide, masked, alone], [text, make_sample(2, 1, split="test", camid=1)]]


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    aside = [
        {"sample_id": f"x{i}", "stage": "read", "reason": f"/a b/x{i}.jpg: empty file (0 bytes); get it"}
        for i in range(3)
    ]
    return make_shards(tmp_path / "set", samples(), quarantined=3, quarantine_rows=aside)


def test_identities_cameras_and_subsets_are_counted_by_split(shards: ShardSet) -> None:
    found = statistics(shards)
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert (train["rows"], train["identities"], train["identities_with_one_row"]) == (4, 2, 1)
    assert train["identities_seen_by_one_camera"] == 0, "an unknown camera is no camera"
    assert train["rows_per_camera"] == {"0": 2, "3": 1, "unknown": 1}
    assert train["rows_per_identity"] | {"histogram": None} == {
        "count": 2,
        "min": 1,
        "median": 1,
        "mean": 2.0,
        "max": 3,
        "histogram": None,
    }
    assert train["subsets"] == {"rgb+text": 2, "rgb+sketch": 1, "rgb": 1}
    assert (test["rows"], test["identities_seen_by_one_camera"], test["roles"]) == (2, 1, {"query": 1})
    assert found["set"]["identities"] == 3


def test_modalities_are_counted_by_origin_and_maker(shards: ShardSet) -> None:
    found = statistics(shards)
    assert found["presence"]["train"] == {
        "rgb": {"captured": 4},
        "sketch": {"generated": 1},
        "text": {"captured": 2, "generated": 1},
        "mask": {"generated": 1},
    }
    assert found["presence"]["test"] == {"rgb": {"captured": 1}, "text": {"captured": 1}}
    (maker,) = found["modalities"]["sketch"]["generators"]
    assert maker == {"generator": "sketch_x", "params_hash": "abc", "count": 1}
    assert found["modalities"]["rgb"]["width"]["max"] == 20
    assert found["modalities"]["rgb"]["sizes"][0] == [8, 8, 4]
    assert found["masks"]["scores"][7] == 1


def test_captions_are_judged_and_shared_ones_found(shards: ShardSet) -> None:
    found = statistics(shards)["captions"]
    assert (found["captions"], found["rows_with_captions"], found["distinct"]) == (4, 3, 3)
    assert found["unknown_rate"] == 0.25
    assert found["reasons"] == {"unknown": 1}
    assert found["examples"]["unknown"] == ["p0-1: does not know: unknown"]
    assert found["shared_by_identities"]["texts"] == 1
    assert found["shared_by_identities"]["captions"] == 2, "case and spaces do not make another text"
    assert found["shared_by_identities"]["examples"][0]["identities"] == [0, 1]
    assert sum(found["tokens"]["histogram"]["counts"]) == 4
    assert found["confidence"]["without"] == 2
    assert [i for i, n in enumerate(found["confidence"]["histogram"]["counts"]) if n] == [4, 18]
    assert found["attributes"]["values"] == {"hat": [["red", 1], ["unknown", 1]]}
    assert found["attributes"]["unknown_rate"] == 0.5


def test_reasons_of_the_quarantine_are_grouped(shards: ShardSet) -> None:
    found = statistics(shards)["quarantine"]
    assert (found["rows"], found["stages"]) == (3, {"read": 3})
    (reason,) = found["reasons"]
    assert reason["count"] == 3 and "empty file" in reason["kind"] and "x0.jpg" in reason["example"]


def test_progress_counts_every_row_and_pictures_are_not_read(
    shards: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardSet, "read_group", lambda *_: pytest.fail("read pictures"))
    monkeypatch.setattr(ShardSet, "labels", lambda *_: pytest.fail("held a whole split"))
    seen: list[int] = []
    statistics(shards, watch=seen.append)
    assert sum(seen) == 6


def test_a_summary_bins_whole_numbers_and_finds_the_median() -> None:
    counts = Counter({10: 1, 11: 1, 500: 3})
    found = summary(counts)
    assert (found["min"], found["median"], found["max"], found["count"]) == (10, 500, 500, 5)
    edges, bins = found["histogram"]["edges"], found["histogram"]["counts"]
    assert len(edges) == len(bins) + 1 <= 25
    for value, number in counts.items():
        assert any(a <= value < b and n >= number for a, b, n in zip(edges, edges[1:], bins, strict=False))
    assert sum(bins) == 5


def test_columns_are_as_tall_as_their_counts() -> None:
    chart = columns([1, 2, 3, 4], [2, 0, 4])
    assert chart is not None
    first, second, third = chart["columns"]
    assert third["height"] == pytest.approx(2 * first["height"]) and second["height"] == 0
    assert all(c["y"] + c["height"] == pytest.approx(chart["base"]) for c in chart["columns"])
    assert (first["title"], chart["left"], chart["right"]) == ("1: 2", "1", "3")
    assert columns([1, 2], [5]) is None and columns([1, 2, 3], [0, 0]) is None
    marked = columns([0, 10, 20], [1, 1], mark=5)
    assert marked is not None and marked["mark"] == pytest.approx(marked["width"] / 4)
    assert meters([("a", 4), ("b", 1)])["rows"][1] == ("b", "1", 25.0)
    assert meters([("a", 1)] * 30)["left_out"] == 6


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_is_one_file_without_scripts_and_escapes_texts(tmp_path: Path) -> None:
    rows = samples()
    rows[0][3] = changed(rows[0][3], captions=(Caption("<script>alert(1)</script> unknown"),))
    page = render_statistics(statistics(make_shards(tmp_path / "set", rows, dataset="a<b>")))
    tags = Tags()
    tags.feed(page)
    assert "script" not in {tag for tag, _ in tags.seen}
    assert (
        not re.search(r"(?:src|href)=[\"'](?!data:)", page) and "url(" not in page and "@import" not in page
    )
    assert "a&lt;b&gt;" in page and "prefers-color-scheme: dark" in page
    assert {"svg", "table", "rect"} <= {tag for tag, _ in tags.seen}
    assert re.search(r'name="viewport" content="width=device-width', page)


def test_the_text_tells_the_same(shards: ShardSet) -> None:
    found = json.loads(json.dumps(statistics(shards)))  # what a file of it says
    lines = "\n".join(text_lines(found))
    for words in (
        "train: 4 rows of 2 identities (1–3, mean 2.0, each), 2 cameras; 1 of one row",
        "sketch: 1 generated",
        "1 made by sketch_x (abc)",
        "1 texts describe several identities",
        "unknown: 1, e.g. p0-1",
        "set aside: 3",
    ):
        assert words in lines, lines


def test_sizes_are_told_in_units() -> None:
    assert [size_of(n) for n in (12, 1536, 3 * 2**20)] == ["12 bytes", "1.5 KiB", "3.0 MiB"]
