"""Storage: local folders, and S3 on a real server."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from reid import storage
from reid.errors import StorageError
from tests.support.s3 import Relay


def test_bytes_and_json_round_trip_below_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), "new", "deep", "file.bin")
    storage.write_bytes(uri, b"\x00\xff")
    assert storage.read_bytes(uri) == b"\x00\xff"
    storage.write_json(uri, {"b": [1, None], "a": "ü"})
    assert storage.read_json(uri) == {"a": "ü", "b": [1, None]}


def test_json_is_written_the_same_whatever_the_key_order(tmp_path: Path) -> None:
    one, two = str(tmp_path / "1.json"), str(tmp_path / "2.json")
    storage.write_json(one, {"a": 1, "b": 2})
    storage.write_json(two, {"b": 2, "a": 1})
    assert storage.read_bytes(one) == storage.read_bytes(two)


def test_a_reader_never_sees_a_partial_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "file.bin")
    versions = [bytes([i]) * 2_000_000 for i in range(2)]
    storage.write_bytes(uri, versions[0])
    stop = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            storage.write_bytes(uri, versions[turn % 2])

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = {storage.read_bytes(uri) in versions for _ in range(100)}
    finally:
        stop.set()
        writer.join()
    assert seen == {True}
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / "file.bin")
    storage.write_bytes(uri, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=r"file\.bin.*No space left"):
        storage.write_bytes(uri, b"new")
    assert storage.read_bytes(uri) == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"], "no debris"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.bin: no such file") as caught:
        storage.read_bytes(str(tmp_path / "absent.bin"))
    assert caught.value.exit_code == 1


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be accessed"):
        storage.read_bytes(str(tmp_path))


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(StorageError, match=r"broken\.json: not valid JSON"):
        storage.read_json(str(tmp_path / "broken.json"))


@pytest.mark.parametrize("uri", ["gs://bucket/x", "http://host/x", "S4://x"])
def test_an_unsupported_scheme_says_what_is_supported(uri: str) -> None:
    with pytest.raises(StorageError, match=r"unsupported scheme .*use a local path or s3://"):
        storage.resolve(uri)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert storage.absolute("a/../b") == str(tmp_path / "b")
    assert storage.absolute(Path("b")) == str(tmp_path / "b")
    assert storage.absolute("~/c") == str(tmp_path / "home" / "c")
    assert storage.absolute(f"file://{tmp_path}/d") == str(tmp_path / "d")
    assert storage.absolute("s3://bucket/prefix/") == "s3://bucket/prefix"


def test_join_makes_no_double_slashes() -> None:
    assert storage.join("s3://bucket/a/", "/b/", "c") == "s3://bucket/a/b/c"


def test_lists_are_sorted_shallow_and_empty_for_a_missing_folder(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.bin", "folder/d.json"):
        storage.write_bytes(storage.join(str(tmp_path), name), b"")
    root = str(tmp_path)
    assert storage.list_files(root) == [f"{root}/{n}" for n in ("a.json", "b.json", "c.bin")]
    assert storage.list_files(root, ".json") == [f"{root}/a.json", f"{root}/b.json"]
    assert storage.list_folders(root) == [f"{root}/folder"]
    assert storage.list_files(f"{root}/absent") == []
    assert storage.list_folders(f"{root}/absent") == []


def test_what_a_killed_writer_left_behind_is_not_listed(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "a.json"), b"{}")
    (tmp_path / "b.json.0123456789abcdef.partial").write_bytes(b"{")
    assert storage.list_files(str(tmp_path)) == [str(tmp_path / "a.json")]


def test_exists_and_delete(tmp_path: Path) -> None:
    uri = str(tmp_path / "file")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"x")
    assert storage.exists(uri)
    storage.delete_file(uri)
    storage.delete_file(uri)
    assert not storage.exists(uri)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "file")
    assert storage.stamp(uri) == "missing"
    storage.write_bytes(uri, b"one")
    first = storage.stamp(uri)
    assert storage.stamp(uri) == first
    storage.write_bytes(uri, b"three")
    assert storage.stamp(uri) != first


def test_an_unreachable_store_names_the_settings_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 (discard) on loopback: refused at once, no network needed.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match=r"s3://bucket/x.*AWS_ENDPOINT_URL") as caught:
        storage.read_bytes("s3://bucket/x")
    assert "nothing" not in str(caught.value)
    with pytest.raises(StorageError, match=r"s3://bucket/x.*AWS_ENDPOINT_URL"):
        storage.stamp("s3://bucket/x")


def test_a_silent_store_is_given_up_within_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setenv("AWS_REGION", "of-this-test-alone")  # stores are kept by their settings
    monkeypatch.setattr("pyarrow.fs.S3FileSystem", lambda **given: options.update(given))
    storage.resolve("s3://bucket/x")
    tries = options["retry_strategy"].max_attempts
    assert tries * max(options["connect_timeout"], options["request_timeout"]) <= 30


def test_files_of_a_store_share_its_connections_until_the_settings_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    first = storage.resolve("s3://bucket/x")[0]
    assert storage.resolve("s3://other/y")[0] is first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    assert storage.resolve("s3://bucket/x")[0] is not first


@pytest.mark.parametrize("endpoint", ["localhost:9000", "minio", "ftp://host", "http://"])
def test_an_endpoint_without_a_scheme_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match=f"AWS_ENDPOINT_URL: '{endpoint}' is not of the form http"):
        storage.resolve("s3://bucket/x")


def test_s3_does_what_a_folder_does(bucket: str) -> None:
    prefix = storage.join(bucket, "prefix")
    for name in ("b.json", "a.json", "folder/c.json"):
        storage.write_json(storage.join(prefix, name), {"name": name})
    assert storage.list_files(prefix) == [f"{prefix}/a.json", f"{prefix}/b.json"]
    assert storage.list_folders(prefix) == [f"{prefix}/folder"]
    assert storage.list_files(f"{bucket}/absent") == []
    assert storage.read_json(f"{prefix}/folder/c.json") == {"name": "folder/c.json"}

    first = storage.stamp(f"{prefix}/a.json")
    storage.write_bytes(f"{prefix}/a.json", b"another size")
    assert storage.stamp(f"{prefix}/a.json") != first

    storage.delete_file(f"{prefix}/a.json")
    assert not storage.exists(f"{prefix}/a.json")
    with pytest.raises(StorageError, match=r"a\.json: no such file"):
        storage.read_bytes(f"{prefix}/a.json")


def test_s3_refusals_name_the_uri_and_keep_the_secret(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match=f"{bucket}/x.*AWS") as caught:
        storage.write_bytes(f"{bucket}/x", b"")
    assert "not-the-secret" not in str(caught.value)


def test_a_server_that_goes_away_in_the_middle_of_a_write_leaves_nothing_and_the_next_write_works(
    bucket: str, relay: Relay
) -> None:
    large = bytes(range(256)) * 100_000  # 25 MB: sent in several parts
    storage.write_bytes(f"{bucket}/before", b"whole")
    relay.cut_after(12_000_000)
    with pytest.raises(StorageError, match=f"{bucket}/large.*AWS_ENDPOINT_URL"):
        storage.write_bytes(f"{bucket}/large", large)
    with pytest.raises(StorageError, match=f"{bucket}/before"):
        storage.read_bytes(f"{bucket}/before")
    relay.restore()
    assert storage.read_bytes(f"{bucket}/before") == b"whole"
    assert not storage.exists(f"{bucket}/large"), "a part of a file is no file"
    storage.write_bytes(f"{bucket}/large", large)
    assert storage.read_bytes(f"{bucket}/large") == large


def test_a_server_that_goes_away_in_the_middle_of_overwriting_leaves_the_old_content(
    bucket: str, relay: Relay
) -> None:
    storage.write_bytes(f"{bucket}/x", b"old")
    relay.cut_after(3_000_000)
    with pytest.raises(StorageError):
        storage.write_bytes(f"{bucket}/x", b"n" * 6_000_000)
    relay.restore()
    assert storage.read_bytes(f"{bucket}/x") == b"old"
