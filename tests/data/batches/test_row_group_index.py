"""The index of row groups: chunks from counts equal chunks of captures, wherever the counts come from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.config import BatchConfig
from reid.data.batches.row_group_index import GroupIndex
from reid.data.batches.samplers import Sampler, sampler_of
from reid.data.shards.schema import Caption, Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.modality import PUBLISHED, Subset
from tests.support.sets.shards import as_before, make_identities, make_sample, make_shards
from tests.support.sets.streams import scattered

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


def mixed() -> list[Sample]:
    """Identities with every mixture of captures, some in no modality of interest."""
    kinds: list[list[Subset]] = [
        [(RGB, NIR)] * 5,
        [(RGB,)] * 3 + [(NIR,)] * 4,
        [(RGB, TEXT), (RGB,), (TIR,)],
        [(SKETCH,)],
        [(NIR, TIR), (RGB, NIR, TEXT), (RGB, NIR, TEXT)],
        [(RGB,)] * 2,
    ]
    return [make_sample(pid, n, subset) for pid, own in enumerate(kinds) for n, subset in enumerate(own)]


def untold(shards: ShardSet) -> ShardSet:
    """The same set as an older build wrote it: the manifest tells no subsets."""
    as_before(shards, lambda group: group.pop("subsets", None))
    return ShardSet.open(shards.root)


def index_of(shards: ShardSet, sampler: Sampler) -> GroupIndex:
    return GroupIndex(shards, "train", {i: i[1] for i in shards.identities("train")}, sampler)


SAMPLERS: list[tuple[dict[str, Any], Subset]] = [
    ({"sampler": "pk", "instances": 2}, (RGB, NIR)),
    ({"sampler": "pk", "instances": 4}, (TEXT,)),
    ({"sampler": "tuple"}, (RGB, NIR)),
    ({"sampler": "tuple", "incomplete": "allow"}, (RGB, NIR, TEXT)),
    ({"sampler": "tuple", "pairing": "same_sample"}, (RGB, NIR)),
    ({"sampler": "tuple", "pairing": "same_sample", "incomplete": "allow"}, (RGB, TEXT)),
    ({"sampler": "cross", "instances": 2}, (RGB, NIR, TIR)),
    ({"sampler": "cross", "instances": 6}, (RGB, NIR)),
]


@pytest.mark.parametrize(("options", "modalities"), SAMPLERS)
@pytest.mark.parametrize("told", [True, False])
def test_planned_chunks_are_the_chunks_that_the_captures_make(
    tmp_path: Path, options: dict[str, Any], modalities: Subset, told: bool
) -> None:
    shards = make_shards(tmp_path, [mixed(), [make_sample(20, n, [RGB, NIR]) for n in range(3)]], 8)
    if not told:
        shards = untold(shards)
    sampler = sampler_of(BatchConfig(identities=2, **options), modalities)
    index = index_of(shards, sampler)
    planned = {e.label: e for group in range(len(index)) for e in index.entries(group)}
    assert 0 < len(planned) == index.identities
    for pid in shards.identities("train"):
        own = [s for g in shards.groups("train") for s in shards.read_group(g) if s.identity == pid]
        assigned = sampler.split(own, np.random.default_rng(0))
        found = planned.get(pid[1])
        if found is None:
            assert not assigned or sampler.lacks({s.modalities: 1 for s in own})
        else:
            assert (found.chunks, found.rows) == (len(assigned), len(own))


def test_a_manifest_tells_subsets_only_where_its_counts_do_not(tmp_path: Path) -> None:
    aligned = make_identities([2, 2], [RGB, NIR])
    single = [make_sample(pid, n, [m]) for pid in (5, 6) for n, m in enumerate((RGB, NIR))]
    two_origins = [
        dataclasses.replace(
            make_sample(pid), captions=(Caption("seen"), Caption("made", origin="generated"))[: pid - 6]
        )
        for pid in (7, 8)
    ]
    shards = make_shards(tmp_path, [aligned, single, two_origins])
    told = [[g.subsets for g in s.row_groups] for s in shards.manifest.shards]
    assert told == [[None], [[{"rgb": 1, "nir": 1}] * 2], [None]]
    assert [s.uniform for s in shards.manifest.shards] == [(RGB, NIR), None, (RGB, TEXT)]


def test_captions_of_mixed_origin_do_not_pass_for_captions_of_all_rows(tmp_path: Path) -> None:
    both = (Caption("seen"), Caption("made", origin="generated"))
    samples = [dataclasses.replace(make_sample(0), captions=both), make_sample(1)]
    shards = make_shards(tmp_path, [samples])
    (shard,) = shards.manifest.shards
    assert shard.modalities["text"] == {"captured": 1, "generated": 1}
    assert shard.uniform is None
    assert shard.row_groups[0].subsets == [{"rgb+text": 1}, {"rgb": 1}]


def test_nothing_is_read_where_the_manifest_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = make_shards(tmp_path, [scattered(), make_identities([3])])
    monkeypatch.setattr(ShardSet, "light", lambda *_: pytest.fail("reads rows"))
    index = index_of(shards_without(shards, 1), sampler_of(BatchConfig(sampler="tuple"), (RGB, NIR)))
    assert index.identities == 6


def shards_without(shards: ShardSet, place: int) -> ShardSet:
    kept = [s for i, s in enumerate(shards.manifest.shards) if i != place]
    return ShardSet(shards.root, shards.manifest.model_copy(update={"shards": kept}))


def test_an_identity_in_two_row_groups_is_refused(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [[make_sample(0)], [make_sample(0, 1)]])
    with pytest.raises(DataError, match="an identity spans row groups"):
        index_of(shards, sampler_of(BatchConfig(), (RGB,)))


def test_the_index_takes_a_few_bytes_an_identity(many: ShardSet) -> None:
    index = index_of(many, sampler_of(BatchConfig(), (RGB,)))
    assert index.label.nbytes + index.rows.nbytes + index.chunks.nbytes == 12 * 60
