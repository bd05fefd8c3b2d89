"""Shard sets that several files of tests read."""

from __future__ import annotations

import pytest

from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.modality import Modality
from tests.support.sets.shards import make_identities, make_sample, make_shards

RGB, NIR, TIR = Modality.RGB, Modality.NIR, Modality.TIR


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """12 identities of 1 to 23 rows in small row groups."""
    sizes = [4, 9, 2, 23, 8, 5, 1, 12, 16, 7, 4, 3]
    return make_shards(tmp_path_factory.mktemp("uneven"), [make_identities(sizes)], rows_per_group=10)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """60 identities of 4 rows, 3 identities a row group, 3 files."""
    samples = make_identities([4] * 60)
    shards = [samples[i : i + 80] for i in range(0, 240, 80)]
    return make_shards(tmp_path_factory.mktemp("many"), shards, rows_per_group=12)


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """24 identities, each row of one spectrum: 2 to 7 of RGB, 3 of NIR or TIR; 2 or 3 a row group."""
    samples: list[Sample] = []
    for pid in range(24):
        samples += [make_sample(pid, n, [RGB]) for n in range(2 + pid % 6)]
        samples += [make_sample(pid, 10 + n, [NIR if pid % 2 else TIR]) for n in range(3)]
    return make_shards(tmp_path_factory.mktemp("spectra"), [samples], rows_per_group=20)
