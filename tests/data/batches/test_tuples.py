"""Tuples: anchored on RGB, other modalities from the same identity or capture."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from reid.config import BatchConfig
from reid.data.batches.collate import Collator
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.data.shards.schema import Sample
from reid.errors import ConfigError, TrainingError
from reid.modality import Modality
from tests.support.sets.shards import data_config, make_identities, make_sample, make_shards
from tests.support.sets.streams import (
    names,
    once_over,
    scattered,
    stream,
)

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT


def test_tuples_take_every_anchor_once_when_that_is_possible(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    for epoch in range(20):
        batches = once_over(stream(shards, [RGB, NIR], sampler="tuple", identities=4), epoch)
        assert all(len({row.label for row in rows}) == 4 for rows in batches)
        anchors = Counter(row.parts[RGB].sample_id for rows in batches for row in rows)
        assert len(batches) == 24 // 4
        assert len(anchors) == 24
        assert set(anchors.values()) == {1}


def test_tuples_go_as_far_as_distinctness_allows(tmp_path: Path) -> None:
    # The two large ones cannot both be emptied: 12 batches of 3 would need 12 others than they.
    shards = make_shards(tmp_path, [make_identities([20, 20, 2, 3, 1])])
    for epoch in range(10):
        batches = once_over(stream(shards, sampler="tuple", identities=3), epoch)
        assert len(batches) == 6
        rare = Counter(row.label for rows in batches for row in rows)
        assert [rare[pid] for pid in range(5)] == [6, 6, 2, 3, 1]


def test_tuple_parts_are_of_one_identity_and_vary(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    source = stream(shards, [RGB, NIR, SKETCH, TEXT], sampler="tuple", identities=4)
    partners = defaultdict(set)
    for epoch in range(6):
        for rows in once_over(source, epoch):
            for row in rows:
                assert list(row.parts) == [RGB, NIR, SKETCH, TEXT]
                assert {str(p.sample_id).split("-")[0] for p in row.parts.values()} == {f"p{row.label}"}
                partners[row.label].add(row.parts[NIR].sample_id)
    assert all(len(found) == 3 for found in partners.values())


def test_tuples_of_two_ranks_are_distinct_and_cover_the_anchors(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 12)])
    for epoch in range(5):
        passes = [
            once_over(stream(shards, rank=r, world=2, sampler="tuple", identities=6), epoch) for r in range(2)
        ]
        assert [len(batches) for batches in passes] == [8, 8]
        for pair in zip(*passes, strict=True):
            assert len({row.label for rows in pair for row in rows}) == 6
        assert len({name for batches in passes for rows in batches for name in names(rows)}) == 48


def test_tuple_steps_go_once_over_the_rows(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 12)])
    assert stream(shards, sampler="tuple", identities=6).natural_steps == 8


def test_tuples_need_their_anchor_among_the_modalities(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    with pytest.raises(ConfigError, match=r"train\.batch\.sampler: .*rgb.*data\.modalities"):
        stream(shards, [NIR], sampler="tuple", identities=4)


def incomplete() -> list[Sample]:
    """Four identities of RGB and NIR in separate captures, one without NIR, one without RGB."""
    samples = [make_sample(pid, n, [m]) for pid in range(4) for n, m in enumerate((RGB, RGB, NIR))]
    return [*samples, make_sample(7, 0, [RGB]), make_sample(7, 1, [RGB]), make_sample(8, 0, [NIR])]


def test_identities_without_every_modality_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = make_shards(tmp_path, [incomplete()])
    source = stream(shards, [RGB, NIR], sampler="tuple", identities=2)
    assert "leaves out 2 training identities, e.g. made/7; they lack nir (1), rgb (1)." in caplog.text
    rows = [row for rows in once_over(source) for row in rows]
    assert all(set(row.parts) == {RGB, NIR} for row in rows)
    assert {row.label for row in rows} == {0, 1, 2, 3}
    assert source.natural_steps == 4


def test_incomplete_identities_can_be_an_error_with_name_and_remedy(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [incomplete()])
    message = r"train\.batch\.incomplete: identity made/7 lacks nir .*build\.generate.*skip or allow"
    with pytest.raises(TrainingError, match=message):
        stream(shards, [RGB, NIR], sampler="tuple", identities=2, incomplete="error")
    complete = make_shards(tmp_path / "complete", [make_identities([2, 2], [RGB, NIR])])
    assert stream(complete, [RGB, NIR], sampler="tuple", identities=2, incomplete="error").natural_steps == 2


def test_incomplete_identities_can_come_with_what_they_have(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [incomplete()])
    source = stream(shards, [RGB, NIR], sampler="tuple", identities=2, incomplete="allow")
    rows = [row for rows in once_over(source) for row in rows]
    assert {tuple(row.parts) for row in rows if row.label == 4} == {(RGB,)}
    assert {row.label for row in rows} == {0, 1, 2, 3, 4}, "but nobody without an anchor"
    assert source.natural_steps == 5


def partly_aligned() -> list[Sample]:
    """Five identities; three of their four captures have RGB and NIR, one RGB only."""
    return [make_sample(pid, n, [RGB, NIR] if n else [RGB]) for pid in range(5) for n in range(4)]


def test_companions_of_the_same_capture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards = make_shards(tmp_path, [partly_aligned()])
    source = stream(shards, [RGB, NIR], sampler="tuple", identities=5, pairing="same_sample")
    assert "leaves out 5 incomplete captures of other identities" in caplog.text
    batches = once_over(source)
    assert len(batches) == source.natural_steps == 3
    for rows in batches:
        for row in rows:
            assert row.parts[RGB].sample_id == row.parts[NIR].sample_id
    assert len({name for rows in batches for name in names(rows)}) == 15


def test_incomplete_captures_count_by_the_same_choices(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [partly_aligned()])
    options = {"sampler": "tuple", "identities": 5, "pairing": "same_sample"}
    with pytest.raises(TrainingError, match=r"train\.batch\.incomplete: identity made/0 lacks nir"):
        stream(shards, [RGB, NIR], **options, incomplete="error")
    source = stream(shards, [RGB, NIR], **options, incomplete="allow")
    kinds = Counter(tuple(row.parts) for rows in once_over(source) for row in rows)
    assert kinds == {(RGB, NIR): 15, (RGB,): 5}


@pytest.mark.parametrize("reservoir", [60, 10_000])
def test_streamed_tuples_of_two_ranks_are_distinct_and_show_almost_every_anchor_once(
    tmp_path: Path, reservoir: int
) -> None:
    sizes = np.random.default_rng(3).integers(2, 12, 80).tolist()
    shards = make_shards(tmp_path, [make_identities(sizes)], rows_per_group=16)
    options = {"sampler": "tuple", "identities": 8, "reservoir_rows": reservoir, "world": 2}
    for epoch in range(3):
        ranks = [stream(shards, rank=r, **options) for r in range(2)]
        steps = ranks[0].natural_steps
        seen: Counter[str] = Counter()
        for pair in zip(*(r.rows_of(epoch, steps) for r in ranks), strict=True):
            batch = [row for rows in pair for row in rows]
            assert len({row.label for row in batch}) == 8
            seen.update(names(batch))
        assert len(seen) > 0.97 * sum(sizes)
        assert seen.total() - len(seen) < 0.03 * sum(sizes), "a rank with less to show begins again"


def test_a_mask_and_pictures_of_other_captures_do_not_go_together(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([2, 2], [RGB, NIR])])
    labels = {identity: i for i, identity in enumerate(shards.identities("train"))}
    masked = Collator(data_config([RGB, NIR]), auxiliary=frozenset({"mask"}))

    def tuples(pairing: Literal["same_id", "same_sample"]) -> BatchStream:
        batch = BatchConfig(sampler="tuple", identities=2, pairing=pairing)
        return BatchStream(shards, labels, (RGB, NIR), batch, masked, StreamPlace(0))

    with pytest.raises(ConfigError, match=r"train\.batch\.pairing: .*same_sample"):
        tuples("same_id")
    assert tuples("same_sample").natural_steps == 2
