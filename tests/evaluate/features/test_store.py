"""Stored vectors: mapped and not copied, joined when files are many, and refused when they are others'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reid.evaluate.features.store as store_module
from reid import storage
from reid.errors import DataError
from reid.evaluate.features.store import FeatureSet
from reid.evaluate.features.table import key_codes


def filled(uri: Path, files: int, each: int = 3) -> tuple[FeatureSet, list[str], np.ndarray]:
    stored = FeatureSet(str(uri), "weights", "set")
    names = [np.random.default_rng(i).bytes(16).hex() for i in range(files * each)]
    vectors = np.random.default_rng(0).standard_normal((files * each, 8)).astype(np.float32)
    for start in range(0, len(names), each):
        stored.add(key_codes(names[start : start + each]), vectors[start : start + each])
    return stored, names, vectors


def test_what_was_added_is_read_bit_by_bit(tmp_path: Path) -> None:
    stored, names, vectors = filled(tmp_path, files=4)
    found = stored.read()
    assert np.array_equal(found.take(found.find(key_codes(names))), vectors)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_same_work_done_again_is_the_same_file(tmp_path: Path) -> None:
    stored, names, vectors = filled(tmp_path, files=1)
    stored.add(key_codes(names), vectors)
    assert len(list(tmp_path.iterdir())) == 1


def test_vectors_lie_in_the_file_and_are_not_copied(tmp_path: Path) -> None:
    stored, _, _ = filled(tmp_path, files=1)
    (block,) = stored.read()._blocks
    assert not block.flags.writeable and not block.flags.owndata


def test_many_small_files_become_one_and_readers_go_on(tmp_path: Path) -> None:
    stored, names, vectors = filled(tmp_path, files=store_module.MANY + 1)
    before = stored.read()
    assert stored.compact() == store_module.MANY + 1
    assert len(list(tmp_path.iterdir())) == 1
    for table in (before, stored.read()):
        assert np.array_equal(table.take(table.find(key_codes(names))), vectors)
    assert stored.compact() == 0


def test_joined_files_keep_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, names, vectors = filled(tmp_path, files=20)
    size = max(file.stat().st_size for file in tmp_path.iterdir())
    monkeypatch.setattr(store_module, "FILE_BYTES", 5 * size)
    stored.compact()
    assert len(list(tmp_path.iterdir())) == 4
    found = stored.read()
    assert np.array_equal(found.take(found.find(key_codes(names))), vectors)


def test_files_that_another_process_joins_meanwhile_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, names, vectors = filled(tmp_path, files=store_module.MANY + 1)
    listed = storage.list_infos

    def list_before_it_joins(uri: str) -> list[object]:
        infos = list(listed(uri))
        monkeypatch.setattr(storage, "list_infos", listed)
        FeatureSet(stored.uri, "weights", "set").compact()
        return infos

    monkeypatch.setattr(storage, "list_infos", list_before_it_joins)
    assert stored.compact() == 0
    found = stored.read()
    assert np.array_equal(found.take(found.find(key_codes(names))), vectors)


def test_reading_survives_files_that_are_joined_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, names, _ = filled(tmp_path, files=1)
    gone = iter([["gone.arrow"]] * 3)
    files = stored._files
    monkeypatch.setattr(stored, "_files", lambda: next(gone, None) or files())
    assert len(stored.read()) == len(names)


def test_a_file_of_a_store_is_copied_in_pieces_and_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, names, vectors = filled(tmp_path, files=2)
    monkeypatch.setattr(storage, "is_remote", lambda uri: True)
    monkeypatch.delattr(storage, "read_bytes")  # reads a file whole
    found = stored.read()
    assert np.array_equal(found.take(found.find(key_codes(names))), vectors)


def test_vectors_of_other_weights_or_data_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, files=1)
    for other in (FeatureSet(str(tmp_path), "others", "set"), FeatureSet(str(tmp_path), "weights", "other")):
        with pytest.raises(DataError, match=r"cannot be compared\. Delete"):
            other.read()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    stored, _, _ = filled(tmp_path, files=1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=rf"{file.name}: a damaged file of vectors .* delete it"):
        stored.read()


def test_files_of_an_earlier_version_are_counted_and_not_read(tmp_path: Path) -> None:
    stored, names, _ = filled(tmp_path, files=1)
    (tmp_path / "0123.parquet").write_bytes(b"PAR1")
    assert stored.earlier_files() == 1
    assert len(stored.read()) == len(names)


def test_a_remote_file_is_copied_in_pieces_and_never_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, names, vectors = filled(tmp_path, files=1)

    def never(_: str) -> bytes:
        raise AssertionError("held in memory")

    monkeypatch.setattr(storage, "is_remote", lambda _: True)
    monkeypatch.setattr(storage, "read_bytes", never)
    found = stored.read()
    assert np.array_equal(found.take(found.find(key_codes(names))), vectors)
