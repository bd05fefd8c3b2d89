"""The tables of a manifest: shared by processes, checked, and made anew from earlier manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.index import _present
from reid import storage
from reid.data.shards.identity_table import IdentityTable
from reid.data.shards.manifest import MANIFEST
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet, publish
from reid.data.shards.shard_table import ShardTable
from reid.errors import DataError
from reid.modality import Modality, canonical
from reid.train.validation.held_out import _groups
from tests.support.sets.shards import as_before, make_identities, make_sample, make_shards

RGB, NIR = Modality.RGB, Modality.NIR


def rows() -> list[list[Sample]]:
    """Two splits in alternating shards, identities with different modalities, two data sets."""
    mixed = [make_sample(7, 0, [RGB], camid=4), make_sample(7, 1, [RGB, NIR]), make_sample(8, 0, [NIR])]
    test = make_identities([2, 3], [RGB], split="test")
    return [make_identities([1, 2, 2], [RGB, NIR]), test, mixed, [make_sample(9, dataset="other", camid=2)]]


def columns(table: IdentityTable) -> dict[str, object]:
    plain = {name: getattr(table, name).tolist() for name in ("rows", "shard", "group")}
    return {
        **plain,
        "who": list(table.identities()),
        "counts": [table.count_of(i) for i in range(len(table))],
    }


def test_a_set_in_one_file_and_one_in_tables_are_read_alike(tmp_path: Path) -> None:
    new = make_shards(tmp_path / "new", rows(), 3)
    old = make_shards(tmp_path / "old", rows(), 3)
    as_before(old)
    old = ShardSet.open(old.root)
    assert old.manifest.tables == {} != new.manifest.tables
    for split in ("train", "val", "test"):
        assert columns(old.index(split)) == columns(new.index(split))
        assert old.identities(split) == new.identities(split)
        assert old.rows(split) == new.rows(split)
        assert [g.identities for g in old.groups(split)] == [g.identities for g in new.groups(split)]
        assert [s.labels for s in old.labels(split)] == [s.labels for s in new.labels(split)]
    assert list(new.manifest.shards) == [
        shard.model_copy(update={"cameras": new.manifest.shards[i].cameras})
        for i, shard in enumerate(old.manifest.shards)
    ]
    assert old.cameras == new.cameras == [2, 4]


def test_an_entry_tells_where_an_identity_lies_and_what_it_has(tmp_path: Path) -> None:
    table = make_shards(tmp_path, rows(), 3).index("train")
    assert columns(table) == {
        "who": [("made", 0), ("made", 1), ("made", 2), ("made", 7), ("made", 8), ("other", 9)],
        "rows": [1, 2, 2, 2, 1, 1],
        "shard": [0, 0, 0, 2, 2, 3],
        "group": [0, 0, 1, 0, 0, 0],
        "counts": [
            {(RGB, NIR): 1}, {(RGB, NIR): 2}, {(RGB, NIR): 2},
            {(RGB,): 1, (RGB, NIR): 1}, {(NIR,): 1}, {(RGB,): 1},
        ],
    }  # fmt: skip


def test_the_columns_lie_in_the_mapped_file(tmp_path: Path) -> None:
    table = make_shards(tmp_path, [make_identities([2, 1])]).stored.identities
    for name in ("dataset", "pid", "rows", "shard", "group", "starts", "subset", "counts"):
        column: np.ndarray[tuple[int], np.dtype[np.generic]] = getattr(table, name)
        assert not column.flags.owndata and not column.flags.writeable, name


def test_equal_shards_have_tables_of_one_name(tmp_path: Path) -> None:
    first, second = (make_shards(tmp_path / name, rows()) for name in "ab")
    assert first.manifest.tables == second.manifest.tables
    before = first.manifest.tables
    publish(first.root, first.manifest.model_copy(update={"shards": list(first.manifest.shards)}))
    assert ShardSet.at(first.root).manifest.tables == before


def test_shards_in_another_order_keep_their_identities(tmp_path: Path) -> None:
    stored = make_shards(tmp_path, rows(), 3).stored
    order = [3, 1, 0]
    taken = stored.take(order)
    assert list(taken) == [stored[place] for place in order]
    assert list(ShardTable.of(list(taken))) == list(taken)


def test_a_missing_or_cut_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    found = make_shards(tmp_path, rows())
    file = tmp_path / found.manifest.tables["identities"]["file"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"identities-.*\.arrow: not readable.*run the same build again"):
        ShardSet.open(str(tmp_path))
    file.unlink()
    with pytest.raises(DataError, match=r"identities-.*no such file"):
        ShardSet.open(str(tmp_path))


def test_a_manifest_without_its_tables_is_damaged(tmp_path: Path) -> None:
    make_shards(tmp_path, rows())
    tree = storage.read_json(str(tmp_path / MANIFEST))
    tree["tables"].pop("shards")
    storage.write_json(str(tmp_path / MANIFEST), tree)
    with pytest.raises(DataError, match=r"MANIFEST\.json is damaged"):
        ShardSet.open(str(tmp_path))


def test_files_and_modalities_of_a_split_are_told_without_making_its_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_shards(tmp_path, rows(), 3)

    def never(*_: object) -> None:
        raise AssertionError("a shard was made")

    monkeypatch.setattr(ShardTable, "_shard", never)
    assert canonical(m for one in found.stored.modalities("train") for m in one) == (RGB, NIR)
    assert canonical(m for one in found.stored.modalities("test") for m in one) == (RGB,)
    assert _present(found, "test") == (RGB,)
    assert len(_groups(found, "train", [("made", 1), ("other", 9)])) == 2
