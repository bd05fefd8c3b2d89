"""Cross batches: half of an identity's rows visible, half infrared, one picture a row."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from reid.config import BatchConfig, load
from reid.data.batches.batch_row import BatchRow
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, TrainingError
from reid.modality import Modality
from tests.support.sets.shards import make_identities, make_sample, make_shards
from tests.support.sets.streams import once_over, stream

RGB, NIR, TIR, SKETCH = Modality.RGB, Modality.NIR, Modality.TIR, Modality.SKETCH
SPECTRA = (RGB, NIR, TIR)


def shown(row: BatchRow) -> tuple[Modality, str]:
    """A row's one picture."""
    ((modality, part),) = row.parts.items()
    return modality, str(part.sample_id)


def one_sided() -> list[Sample]:
    """Four identities of both spectra, and three that were seen in one only."""
    both = make_identities([6, 6, 6, 6], [RGB, NIR])
    return [*both, make_sample(7, 0, [RGB]), make_sample(8, 0, [NIR]), make_sample(9, 0, [RGB, SKETCH])]


@pytest.mark.parametrize("reservoir", [30, 1000])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_each_identity_shows_k_halves_of_visible_then_of_infrared_pictures(
    spectra: ShardSet, reservoir: int, dropout: float
) -> None:
    options = {"sampler": "cross", "identities": 4, "instances": 6, "modality_dropout": dropout}
    for rows in once_over(stream(spectra, SPECTRA, reservoir_rows=reservoir, **options)):
        assert len(rows) == 24
        for start in range(0, 24, 6):
            own = rows[start : start + 6]
            assert len({row.label for row in own}) == 1
            kinds = [shown(row)[0] for row in own]
            assert kinds[:3] == [RGB] * 3
            assert set(kinds[3:]) == {NIR if own[0].label % 2 else TIR}
        assert len({row.label for row in rows}) == 4


def test_the_longer_side_is_gone_over_once_and_the_other_evenly_again(tmp_path: Path) -> None:
    samples = [make_sample(pid, n, [RGB]) for pid in range(2) for n in range(12)]
    samples += [make_sample(pid, 20 + n, [NIR]) for pid in range(2) for n in range(5)]
    source = stream(make_shards(tmp_path, [samples]), [RGB, NIR], sampler="cross", identities=2, instances=4)
    assert source.natural_steps == 6
    for epoch in range(5):
        batches = once_over(source, epoch)
        assert len(batches) == 6
        seen = Counter(shown(row) for rows in batches for row in rows)
        assert {seen[RGB, f"p{pid}-{n}"] for pid in range(2) for n in range(12)} == {1}
        assert {seen[NIR, f"p{pid}-{20 + n}"] for pid in range(2) for n in range(5)} == {2, 3}


def test_a_short_side_shows_each_of_its_pictures_before_one_again(tmp_path: Path) -> None:
    samples = [make_sample(pid, n, [m]) for pid in range(2) for m, n in ((RGB, 0), (NIR, 1), (NIR, 2))]
    source = stream(make_shards(tmp_path, [samples]), [RGB, NIR], sampler="cross", identities=2, instances=8)
    (rows,) = once_over(source)
    seen = Counter(shown(row) for row in rows)
    assert [seen[RGB, "p0-0"], seen[NIR, "p0-1"], seen[NIR, "p0-2"]] == [4, 2, 2]


def test_a_capture_of_several_spectra_shows_one_of_them_a_row(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 3, [RGB, NIR, TIR, SKETCH])])
    source = stream(shards, [RGB, NIR, TIR, SKETCH], sampler="cross", identities=3, instances=4)
    kinds = Counter(shown(row)[0] for e in range(40) for rows in once_over(source, e) for row in rows)
    assert set(kinds) == {RGB, NIR, TIR}, "a sketch is no spectrum"
    assert kinds[RGB] == kinds[NIR] + kinds[TIR] == 40 * 3 * 4
    assert abs(kinds[NIR] - kinds[TIR]) < 60


def test_only_the_spectra_of_the_configuration_are_shown(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 3, [RGB, NIR, TIR])])
    source = stream(shards, [RGB, TIR], sampler="cross", identities=3, instances=4)
    assert {shown(row)[0] for rows in once_over(source) for row in rows} == {RGB, TIR}


def test_identities_of_one_spectrum_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = make_shards(tmp_path, [one_sided()])
    with caplog.at_level(logging.WARNING):
        source = stream(shards, [RGB, NIR], sampler="cross", identities=2, instances=4)
        stream(shards, [RGB, NIR], sampler="cross", identities=2, instances=4, rank=1, world=2)
    (said,) = caplog.messages  # by the first rank alone
    assert "cross leaves out 3 training identities, e.g. made/7; they lack nir (2), rgb (1)" in said
    assert {row.label for e in range(5) for rows in once_over(source, e) for row in rows} == {0, 1, 2, 3}
    assert source.natural_steps == 4 * 3 // 2, "they do not lengthen the epoch"


def test_too_few_identities_of_both_spectra_are_an_error(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [one_sided()])
    message = r"needs 5 identities, training has 4 \(left out: 3 training identities.* lack nir \(2\)"
    with pytest.raises(TrainingError, match=message):
        stream(shards, [RGB, NIR], sampler="cross", identities=5, instances=4)


@pytest.mark.parametrize("modalities", [[RGB], [NIR, TIR], [RGB, SKETCH]])
def test_cross_needs_visible_and_infrared_modalities(spectra: ShardSet, modalities: list[Modality]) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch\.sampler: .*Add rgb and nir or tir"):
        stream(spectra, modalities, sampler="cross", identities=4, instances=4)


def test_k_must_be_even() -> None:
    with pytest.raises(ConfigError, match=r"train\.batch\.instances: .*even"):
        load("baseline/sysu-mm01", ["train.batch={sampler: cross, identities: 4, instances: 5}"])
    assert BatchConfig(sampler="pk", instances=5).instances == 5
