"""Every published layout becomes a set: read, sketched, written, and sound when it is checked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipelines.dataset.build import build
from pipelines.dataset.verify import verify
from reid.config import load, plugin_names
from reid.dataset.stages.running import run_here
from reid.modality import Modality
from tests.support.public_layouts import cuhk_pedes as cuhk
from tests.support.public_layouts import icfg_pedes as icfg
from tests.support.public_layouts import llcm, regdb
from tests.support.public_layouts import rstp_reid as rstp
from tests.support.public_layouts import sysu_mm01 as sysu
from tests.support.public_layouts.paths import MARKET, MSVR310, RGBNT100, RGBNT201, save
from tests.support.sets import annotated


def _sysu(root: Path) -> None:
    for pid, cameras in sysu.SEEN.items():
        for camera in cameras:
            sysu.write(root, f"cam{camera}/{pid:04d}/0001.jpg")
    (root / "exp").mkdir()
    for name, text in sysu.LISTS.items():
        (root / "exp" / f"{name}_id.txt").write_text(f"{text}\n")


def _regdb(root: Path) -> None:
    for kind in regdb.FOLDERS:
        for pid in (3, 7, 12, 40):
            for number in (1, 2):
                path = root / regdb.name(kind, pid, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (4, 8), (pid, number, 0)).save(path, "BMP")
        for split, pids in regdb.TRIALS[1].items():
            regdb.write_list(root, split, kind, 1, regdb.lines(kind, pids))


def _llcm(root: Path) -> None:
    for kind, lines in llcm.TRAIN.items():
        llcm.write_list(root, f"train_{kind}.txt", lines)
        for line in lines:
            llcm.write(root, line.split(" ")[0])
    llcm.write_list(root, "test_id.txt", ["1064,3"])
    for name in llcm.TEST:
        llcm.write(root, name)
        llcm.write(root, f"{name[5:8]}/{name.split('/')[2]}/{name.rpartition('/')[2]}")


LAYOUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "rgbnt201": (lambda root: save(root, RGBNT201), "rgb+nir+tir"),
    "rgbnt100": (lambda root: save(root, RGBNT100, width=72), "rgb+nir+tir"),
    "msvr310": (lambda root: save(root, MSVR310), "rgb+nir+tir"),
    "market1501": (lambda root: save(root, MARKET), "rgb"),
    "cuhk_pedes": (lambda root: annotated.write_set(root, "reid_raw.json", cuhk.ENTRIES), "rgb+text"),
    "icfg_pedes": (lambda root: annotated.write_set(root, "ICFG-PEDES.json", icfg.ENTRIES), "rgb+text"),
    "rstp_reid": (
        lambda root: annotated.write_set(root, "data_captions.json", rstp.ENTRIES),
        "rgb+text",
    ),
    "sysu_mm01": (_sysu, "rgb+nir"),
    "regdb": (_regdb, "rgb+tir"),
    "llcm": (_llcm, "rgb+nir"),
}


@pytest.mark.parametrize("reader", LAYOUTS)
def test_a_published_layout_becomes_a_sound_set(reader: str, tmp_path: Path) -> None:
    write, modalities = LAYOUTS[reader]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in")
    config = load(
        {
            "name": reader,
            "workdir": str(tmp_path / "work"),
            "data": {
                "name": reader,
                "reader": {"name": reader, "path": str(tmp_path / "in")},
                "modalities": f"{modalities}+sketch",
            },
            "build": {"generate": {"sketch": {"generator": "sketch_mix"}}, "rows_per_shard": 4},
            "model": {"name": "baseline", "fusion": "mean"},
        }
    )
    shards = build(config, out=lambda _: None, run=run_here).shards
    assert verify(shards, parallel=False, out=lambda _: None).sound
    samples = [s for split in ("train", "val", "test") for s in shards.labels(split)]
    assert samples and shards.manifest.quarantined == 0
    assert {m for s in samples for m in s.modalities} >= set(config.data.modalities)
    for sample in samples:  # a sketch is made of every photo, and of nothing else
        assert (Modality.SKETCH in sample.images) == (Modality.RGB in sample.images)


def test_no_reader_of_a_published_set_is_left_out() -> None:
    others = {"synthetic", "folder", "exported"}
    assert set(LAYOUTS) == set(plugin_names("reid.data.readers")) - others
