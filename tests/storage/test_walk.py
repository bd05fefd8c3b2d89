"""Walking folders that others filled: finite, each real file once, what is left out told by its reason."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pyarrow.fs as pafs
import pytest

from reid import storage
from reid.errors import StorageError
from reid.storage.walk import Walk
from tests.support.replace_storage import replace_storage


def put(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")


def walk(root: Path) -> tuple[Walk, list[str]]:
    """A walk of the whole folder, and the pictures it found, relative to the root."""
    one = Walk(str(root), ["jpg", "png"])
    return one, [uri.removeprefix(f"{root}/") for uri in one.below(str(root))]


def told(root: Path) -> str:
    one, _ = walk(root)
    return "\n".join(one.notes()).replace(f"{root}: ", "")


def test_pictures_at_any_depth_are_listed_by_path_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "1/a.JPG", "1/deep/er/c.png", "list.csv")
    one, found = walk(tmp_path)
    assert found == ["1/a.JPG", "1/deep/er/c.png", "b.jpg"]
    assert (one.notes(), one.broken) == ([], []), "a table at the top describes the set"


@pytest.mark.parametrize("link", ["1/up", "1/2/up", "self"])
def test_a_link_to_a_folder_above_it_ends_the_walk_there(link: str, tmp_path: Path) -> None:
    put(tmp_path, "1/2/a.jpg")
    (tmp_path / link).symlink_to(tmp_path, target_is_directory=True)
    assert walk(tmp_path)[1] == ["1/2/a.jpg"]
    assert told(tmp_path) == f"left out links back to a folder above them: 1 ({link})."


def test_links_between_two_folders_that_hold_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, "mine/1/a.jpg", "other/b.jpg")
    (tmp_path / "mine/2").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "mine")
    assert walk(tmp_path / "mine")[1] == ["1/a.jpg", "2/b.jpg"]


def test_a_folder_or_file_that_two_names_lead_to_is_read_under_its_own(tmp_path: Path) -> None:
    put(tmp_path, "2/a.jpg", "2/b.jpg")
    (tmp_path / "1").symlink_to("2")
    (tmp_path / "2/aa.jpg").symlink_to("a.jpg")
    assert walk(tmp_path)[1] == ["2/a.jpg", "2/b.jpg"]
    assert told(tmp_path) == "left out links to what is read under its own name: 2 (1, 2/aa.jpg)."


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, "gallery/a.jpg", "query/b.jpg")
    os.link(tmp_path / "gallery/a.jpg", tmp_path / "query/a.jpg")
    assert walk(tmp_path)[1] == ["gallery/a.jpg", "query/a.jpg", "query/b.jpg"]


def test_links_that_lead_out_are_followed_and_told(tmp_path: Path) -> None:
    put(tmp_path, "mine/1/a.jpg", "store/7f", "store/folder/c.jpg")
    (tmp_path / "mine/1/b.jpg").symlink_to(tmp_path / "store/7f")
    (tmp_path / "mine/2").symlink_to(tmp_path / "store/folder")
    assert walk(tmp_path / "mine")[1] == ["1/a.jpg", "1/b.jpg", "2/c.jpg"]
    assert "lead out of the folder, and are followed: 2, e.g. 1/b.jpg -> " in told(tmp_path / "mine")


def test_what_annex_keeps_in_a_hidden_folder_is_read_through_its_link(tmp_path: Path) -> None:
    put(tmp_path, ".git/annex/objects/7f/SHA256")
    (tmp_path / "1").mkdir()
    (tmp_path / "1/a.jpg").symlink_to("../.git/annex/objects/7f/SHA256")
    assert walk(tmp_path)[1] == ["1/a.jpg"]


def test_a_picture_that_leads_nowhere_is_broken_and_another_file_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg")
    (tmp_path / "1/gone.jpg").symlink_to("/nowhere/at/all.jpg")
    (tmp_path / "1/gone.txt").symlink_to("/nowhere/at/all.txt")
    (tmp_path / "1/itself.png").symlink_to("itself.png")
    one, found = walk(tmp_path)
    assert found == ["1/a.jpg"]
    assert [b.uri.rpartition("/")[2] for b in one.broken] == ["gone.jpg", "itself.png"]
    assert one.broken[0].problem.startswith(f"{tmp_path}/1/gone.jpg: a link that leads nowhere; restore ")
    assert told(tmp_path) == "left out links that lead nowhere: 1 (1/gone.txt)."


def test_names_that_are_not_utf8_are_spelled_out_in_folders_too(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg")
    for name in (b"1/caf\xe9.jpg", b"gar\xe7on/a.jpg", b"gar\xe7on/deep/b.png"):
        path = os.fsencode(tmp_path) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(b"x")
    one, found = walk(tmp_path)
    assert found == ["1/a.jpg"]
    broken = [b.uri.removeprefix(f"{tmp_path}/") for b in one.broken]
    assert broken == ["1/caf\\xe9.jpg", "gar\\xe7on/a.jpg", "gar\\xe7on/deep/b.png"]
    assert "the name is not UTF-8; rename it" in one.broken[0].problem
    assert storage.list_files(str(tmp_path / "1")) == [f"{tmp_path}/1/a.jpg"]


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg")
    os.mkfifo(tmp_path / "1/b.jpg")
    one, found = walk(tmp_path)
    assert found == ["1/a.jpg"]
    assert "neither file nor folder" in one.broken[0].problem


@pytest.mark.parametrize(
    "folder",
    [
        *("@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information"),
        *(".ipynb_checkpoints", "__MACOSX", "@Recycle", ".Trash-1000", "#snapshot"),
    ],
)
def test_folders_of_systems_are_not_entered_but_counted(folder: str, tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", f"{folder}/a.jpg", f"1/{folder}/b.jpg")
    assert walk(tmp_path)[1] == ["1/a.jpg"]
    assert told(tmp_path) == f"left out hidden or made by the system: 2 ({folder} 2)."


def test_files_of_systems_and_other_files_are_counted_by_kind(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "1/Thumbs.db", "1/._a.jpg", "1/._b.jpg", "1/notes.txt", "1/more.TXT", "1/README")
    assert walk(tmp_path)[1] == ["1/a.jpg"]
    assert told(tmp_path) == (
        "left out hidden or made by the system: 3 (._* 2, Thumbs.db), "
        "files that are no pictures by their suffix: 3 (.txt 2, no suffix)."
    )


def test_a_folder_may_be_listed_twice_and_is_told_once(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "@eaDir/b.jpg")
    one = Walk(str(tmp_path), ["jpg"])
    for _ in range(2):
        assert one.folders(str(tmp_path)) == [f"{tmp_path}/1"]
        assert one.files(f"{tmp_path}/1") == [f"{tmp_path}/1/a.jpg"]
    assert one.notes() == [f"{tmp_path}: left out hidden or made by the system: 1 (@eaDir)."]


@pytest.mark.parametrize("folder", ["absent", "a.jpg", "a.jpg/below", "x" * 300, "nul\0byte"])
def test_what_is_no_folder_holds_nothing(folder: str, tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    assert storage.list_files(f"{tmp_path}/{folder}") == storage.list_folders(f"{tmp_path}/{folder}") == []


def test_a_folder_that_may_not_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError, match=r"private: cannot be accessed .*Permission denied"):
        storage.list_files(str(tmp_path / "private"))


@pytest.mark.parametrize("key", ["a//b.jpg", "a/./b.jpg", "a/../b.jpg"])
def test_a_key_with_odd_parts_is_refused_by_name_before_the_store_is_asked(key: str) -> None:
    with pytest.raises(StorageError, match=f"s3://bucket/{key}: an object key with an empty part"):
        storage.read_bytes(f"s3://bucket/{key}")
    assert storage.list_files("s3://bucket/a//b") == storage.list_folders("s3://bucket/a/..") == []


ODD_KEYS = ("p/1//b.jpg", "p/1/./c.jpg", "p/1/../d.jpg", "p//e.jpg")
PLAIN_KEYS = ("p/1/a.jpg", "p/2/a.jpg", "p/2/deep/b c+d%20.jpg", "p/\u00e9/\u00fc.jpg")
OTHER_KEYS = ("p/3/", "p/@eaDir/1/f.jpg", "p/2/notes.txt")


class OddStore:
    """Lists as pyarrow lists an S3 store whose keys have odd parts: a folder may lie within itself."""

    def get_file_info(self, asked: pafs.FileSelector) -> list[pafs.FileInfo]:
        base, keys = asked.base_dir, [f"bucket/{key}" for key in (*ODD_KEYS, *PLAIN_KEYS, *OTHER_KEYS)]
        below = [key for key in keys if key.startswith(f"{base}/")]
        if asked.recursive:
            return [pafs.FileInfo(key, pafs.FileType.File, size=1) for key in below if not key.endswith("/")]
        names = {key.removeprefix(f"{base}/").partition("/")[:2] for key in below}
        found = []
        for name, slash in sorted(names):
            path = f"{base}/{name}" if name else base
            found.append(
                pafs.FileInfo(path, pafs.FileType.Directory if slash else pafs.FileType.File, size=1)
            )
        return list({info.path: info for info in found}.values())


def check_odd_keys(root: str) -> None:
    one = Walk(root, ["jpg"])
    assert sorted(one.below(root)) == sorted(f"{root}{key[1:]}" for key in PLAIN_KEYS)
    assert [b.uri for b in one.broken] == sorted(f"{root}{key[1:]}" for key in ODD_KEYS)
    assert "copy the object to a plain key" in one.broken[0].problem
    (note,) = one.notes()
    assert "made by the system: 1 (@eaDir), files that are no pictures by their suffix: 1 (.txt)" in note
    level = Walk(root, ["jpg"])
    assert level.folders(root) == [f"{root}/{name}" for name in ("1", "2", "3", "\u00e9")]
    assert level.files(f"{root}/1") == [f"{root}/1/a.jpg"]
    assert "object keys with an empty part, '.' or '..': " in level.notes()[0]


def test_object_keys_with_odd_parts_end_the_walk_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_storage(monkeypatch, "resolve", lambda uri: (OddStore(), str(uri).removeprefix("s3://")))
    check_odd_keys("s3://bucket/p")


def test_a_real_store_with_odd_keys_is_walked_alike(bucket: str) -> None:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for key in (*ODD_KEYS, *PLAIN_KEYS, *OTHER_KEYS):
        client.put_object(
            Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"" if key.endswith("/") else b"x"
        )
    check_odd_keys(f"{bucket}/p")
