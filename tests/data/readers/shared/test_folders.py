"""Readers of published sets set aside what is there but cannot be read, and tell what they passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.readers.base import open_reader
from reid.data.readers.shared.folders import contents
from tests.support.public_layouts import llcm, sysu_mm01
from tests.support.public_layouts.paths import MARKET, MSVR310, RGBNT100, RGBNT201, save

BROKEN = {
    "market1501": "query/0009_c2s1_000451_03.jpg",
    "rgbnt100": "query/0009_c0002_001.jpg",
    "rgbnt201": "test/NI/000258_cam3_0_00.jpg",
    "msvr310": "query3/0019/th/0019_s009_v0_000.jpg",
    "llcm": "test_nir/cam1/0003/0003_c01_s18_f99_nir.jpg",
    "sysu_mm01": "cam3/0004/0099.jpg",
}
"""Where a picture of each set would lie."""


def write(reader: str, root: Path) -> None:
    listed = {"market1501": MARKET, "rgbnt100": RGBNT100, "rgbnt201": RGBNT201, "msvr310": MSVR310}
    if reader in listed:
        save(root, [name.removeprefix("rgbir/") for name in listed[reader]])
    elif reader == "llcm":
        for kind, lines in llcm.TRAIN.items():
            llcm.write_list(root, f"train_{kind}.txt", lines)
            for line in lines:
                llcm.write(root, line.partition(" ")[0])
        llcm.write_list(root, "test_id.txt", ["3,1064"])
        for name in llcm.TEST:
            llcm.write(root, name)
    else:
        for name, ids in sysu_mm01.LISTS.items():
            (root / "exp").mkdir(exist_ok=True)
            (root / f"exp/{name}_id.txt").write_text(ids)
        for pid, cameras in sysu_mm01.SEEN.items():
            for camera in cameras:
                sysu_mm01.write(root, f"cam{camera}/{pid:04d}/0001.jpg")


@pytest.mark.parametrize("reader", BROKEN)
def test_a_picture_that_cannot_be_read_is_one_more_row(reader: str, tmp_path: Path) -> None:
    def records() -> tuple[dict[str, str | None], list[str]]:
        section = TypeAdapter(ReaderSection).validate_python({"name": reader, "path": str(tmp_path)})
        source = open_reader(section, "set")
        listed = source.records()
        assert all(source.key(r) for r in listed)
        found = {r.labels.sample_id: r.problem for r in listed}
        return found, source.notes

    write(reader, tmp_path)
    whole, notes = records()
    assert (set(whole.values()), notes) == ({None}, [])
    picture = tmp_path / BROKEN[reader]
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.symlink_to("/gone/with/the/disk.jpg")
    (picture.parent / "Thumbs.db").write_bytes(b"x")
    latin = os.fsencode(picture.parent) + b"/\xe9.jpg"
    with open(latin, "wb") as stream:
        stream.write(b"x")
    found, notes = records()
    more = {name: problem for name, problem in found.items() if name not in whole}
    assert set(more) == {BROKEN[reader], BROKEN[reader].rpartition("/")[0] + r"/\xe9.jpg"}
    assert "a link that leads nowhere" in (more[BROKEN[reader]] or "")
    assert [note.partition(" left out ")[2] for note in notes] == [
        "hidden or made by the system: 1 (Thumbs.db)."
    ]


def test_what_is_in_a_folder_counts_what_cannot_be_read(tmp_path: Path) -> None:
    assert contents(str(tmp_path)) == "nothing"
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).symlink_to("/gone.jpg")
    assert contents(str(tmp_path)) == "2 links that lead nowhere"
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("x")
    assert contents(str(tmp_path)) == "b/, a.txt, 2 links that lead nowhere"
    for n in range(9):
        (tmp_path / f"c{n}").mkdir()
    assert contents(str(tmp_path)).endswith("c6/, … (11 in all), 2 links that lead nowhere")
