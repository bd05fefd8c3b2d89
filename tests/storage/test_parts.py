"""Lines are appended as parts: nothing is rewritten, an outage loses nothing and is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import StorageError
from reid.storage import parts
from reid.storage.parts import PartWriter, list_parts, read_parts


def lines(folder: Path | str) -> list[str]:
    return [line for _, part in read_parts(list_parts(str(folder))) for line in part]


def test_what_was_added_is_read_in_order(tmp_path: Path) -> None:
    writer = PartWriter(str(tmp_path / "log"), "txt", every_s=0.0)
    for n in range(100):
        writer.add(f"line {n}")
    assert writer.close()
    assert lines(tmp_path / "log") == [f"line {n}" for n in range(100)]


def test_a_written_part_is_never_touched_again(tmp_path: Path) -> None:
    writer = PartWriter(str(tmp_path), "txt")
    seen: dict[str, tuple[int, int]] = {}
    for n in range(5):
        writer.add(f"line {n}")
        assert writer.flush(10.0)
        for file in tmp_path.iterdir():
            now = (file.stat().st_mtime_ns, file.stat().st_size)
            assert seen.setdefault(file.name, now) == now
    assert len(seen) == 5


def test_another_writer_is_another_attempt_after_the_first(tmp_path: Path) -> None:
    for text in ("first", "second"):
        writer = PartWriter(str(tmp_path), "txt")
        writer.add(text)
        assert writer.close()
    assert [(p.attempt, p.number) for p in list_parts(str(tmp_path))] == [(1, 1), (2, 1)]
    assert lines(tmp_path) == ["first", "second"]


def test_the_first_part_is_seen_at_once_however_long_the_pauses(tmp_path: Path) -> None:
    writer = PartWriter(str(tmp_path), "txt", every_s=3600.0)
    writer.add("begun")
    with writer._changed:
        assert writer._changed.wait_for(lambda: not writer._lines, 10.0)
    assert lines(tmp_path) == ["begun"]
    writer.close()


def test_an_outage_is_told_once_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, told, real = [True], [], parts.write_bytes

    def write(uri: str, data: bytes) -> None:
        if out[0]:
            raise StorageError("the store is out")
        real(uri, data)

    monkeypatch.setattr(parts, "write_bytes", write)
    monkeypatch.setattr(parts, "_AFTER_FAILURE_S", 0.01)
    writer = PartWriter(str(tmp_path), "txt", every_s=0.0, tell=told.append)
    writer.add("during")
    assert not writer.flush(0.1)
    assert not writer.flush(0.1)
    out[0] = False
    writer.add("after")
    assert writer.close(10.0)
    assert lines(tmp_path) == ["during", "after"]
    assert len(told) == 1 and "the store is out" in told[0]


def test_what_a_store_never_took_is_counted_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(uri: str, data: bytes) -> None:
        raise StorageError("the store is out")

    told: list[str] = []
    monkeypatch.setattr(parts, "write_bytes", write)
    writer = PartWriter(str(tmp_path), "txt", tell=told.append)
    writer.add("a")
    writer.add("b")
    assert not writer.close(0.1)
    assert told[-1].endswith("2 lines could not be written")


@pytest.mark.slow
def test_parts_lie_on_an_object_store_too(bucket: str) -> None:
    writer = PartWriter(f"{bucket}/run/log", "txt", every_s=0.0)
    for n in range(50):
        writer.add(f"line {n}")
    assert writer.close()
    assert lines(f"{bucket}/run/log") == [f"line {n}" for n in range(50)]
