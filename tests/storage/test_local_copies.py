"""Copies of remote files: made once, checked, and kept within a limit."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from reid.errors import StorageError
from reid.storage import copies, local_copies
from reid.storage.local_copies import local_copy


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a bucket; its files are named remote://<name>."""
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    local = pafs.LocalFileSystem()
    monkeypatch.setattr(local_copies, "is_remote", lambda uri: True)
    for module in (local_copies, copies):
        monkeypatch.setattr(module, "resolve", lambda uri: (local, str(bucket / uri.rpartition("/")[2])))
    monkeypatch.setenv("ANYREID_CACHE", str(tmp_path / "cache"))
    return bucket


def put(bucket: Path, name: str, data: bytes) -> tuple[str, str, int]:
    (bucket / name).write_bytes(data)
    return f"remote://{name}", hashlib.sha256(data).hexdigest(), len(data)


def kept(work: Path) -> list[str]:
    """What lies in the folder of copies, but for the empty files that processes lock."""
    return sorted(p.name for p in (work / "cache/files").iterdir() if p.suffix != ".lock")


def test_a_copy_is_made_once_and_has_the_content(remote: Path, tmp_path: Path) -> None:
    given = put(remote, "a.arrow", b"content")
    copy = local_copy(*given)
    (remote / "a.arrow").unlink()
    assert local_copy(*given) == copy and Path(copy).read_bytes() == b"content"
    assert kept(tmp_path) == [Path(copy).name]


def test_another_content_than_promised_is_refused_and_leaves_nothing(remote: Path, tmp_path: Path) -> None:
    uri, _, size = put(remote, "a.arrow", b"content")
    with pytest.raises(StorageError, match=r"a\.arrow: its content changed"):
        local_copy(uri, "0" * 64, size)
    assert kept(tmp_path) == []


def test_the_least_recently_used_copies_make_room(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREID_CACHE_GIB", str(25 / 2**30))
    first, second = (local_copy(*put(remote, f"{n}.arrow", n.encode() * 10)) for n in "ab")
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    third = local_copy(*put(remote, "c.arrow", b"c" * 10))
    assert [Path(p).exists() for p in (first, second, third)] == [False, True, True]


def test_a_local_file_is_its_own_copy(tmp_path: Path) -> None:
    file = tmp_path / "a.arrow"
    file.write_bytes(b"abc")
    assert local_copy(str(file), "", 3) == str(file)
    with pytest.raises(StorageError, match=r"3 bytes, not 4"):
        local_copy(str(file), "", 4)


def test_processes_that_ask_together_make_one_copy(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, made = put(remote, "a.arrow", b"content"), []

    def slowly(uri: str, path: Path) -> tuple[int, str]:
        made.append(path)
        time.sleep(0.2)
        return copies.download(uri, path)

    monkeypatch.setattr(local_copies, "download", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: local_copy(*given), range(4)))
    assert len(made) == 1 and [Path(p).read_bytes() for p in found] == [b"content"]


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ANYREID_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"file/files: cannot keep copies .*ANYREID_CACHE"):
        local_copy(*put(remote, "a.arrow", b"content"))


def test_a_full_disk_is_not_told_as_a_store_that_is_out(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> Any:
        with target._noting():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copies, "_pieces", full)
    with pytest.raises(StorageError, match=r"cache/files: cannot keep copies .*No space left"):
        local_copy(*put(remote, "a.arrow", b"content"))
    assert kept(tmp_path) == []


def test_parts_of_killed_processes_go_and_those_being_written_stay(remote: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/files"
    folder.mkdir(parents=True)
    for name, age in (("old", 7200), ("young", 60)):
        (folder / f"{name}.partial").write_bytes(b"")
        os.utime(folder / f"{name}.partial", (time.time() - age,) * 2)
    copy = local_copy(*put(remote, "a.arrow", b"content"))
    assert kept(tmp_path) == sorted([Path(copy).name, "young.partial"])


def test_a_copy_that_another_process_deletes_meanwhile_is_no_error(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "cache/files/gone.arrow"
    gone.parent.mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([gone]))
    assert Path(local_copy(*put(remote, "a.arrow", b"content"))).read_bytes() == b"content"
