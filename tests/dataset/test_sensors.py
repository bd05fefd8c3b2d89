"""How deep pictures became 8 bits is part of a set: of its name, of its manifest and of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.config import Config, load
from reid.config.addresses import shards_uri
from reid.data.shards.schema import Sample
from reid.doctor.data.examination import examine
from reid.modality import Modality
from tests.support.sets.photos import build_here, rows_of
from tests.support.sets.tiffs import raw_tiff

RGB, NIR, TIR = Modality.RGB, Modality.NIR, Modality.TIR
FIXED = "data.range.tir={fixed: [28000, 31000]}"


@pytest.fixture
def thermal(tmp_path: Path) -> Path:
    """Two captures each of three identities; one of the pictures has a stuck pixel."""
    root = tmp_path / "in"
    rows = ["file,pid,camid,split,modality"]
    for pid in range(3):
        for camera in range(2):
            name = f"{pid}_{camera}.tif"
            values = 29_000 + 100 * pid + np.random.default_rng(pid).integers(0, 900, (32, 16))
            if (pid, camera) == (1, 1):
                values[0, 0] = 65_535
            root.mkdir(exist_ok=True)
            PILImage.fromarray(values.astype(np.uint16)).save(root / name)
            rows.append(f"{name},{pid},{camera},train,tir")
    (root / "list.csv").write_text("\n".join(rows))
    return root


def config(root: Path, work: Path, *overrides: str) -> Config:
    tree = {
        "name": "thermal",
        "workdir": str(work),
        "data": {
            "name": "thermal",
            "reader": {"name": "folder", "path": str(root), "manifest": "list.csv"},
            "modalities": "rgb+nir+tir",
        },
        "model": {"name": "baseline", "fusion": "mean"},
    }
    return load(tree, overrides)


def grey(sample: Sample) -> np.ndarray:
    return sample.pixels("tir")[..., 0]


def test_a_stuck_pixel_changes_no_other_and_is_warned_of_once(thermal: Path, tmp_path: Path) -> None:
    result = build_here(config(thermal, tmp_path))
    rows = {Path(s.labels.sample_id).stem: s for s in rows_of(result.shards, "train")}
    whole, spoilt = grey(rows["1_0"]), grey(rows["1_1"])
    assert spoilt[0, 0] == 255 and np.abs(whole.astype(int) - spoilt)[1:].max() <= 1
    assert result.shards.manifest.notes["range-outliers"].count == 1
    (warning,) = [w for w in result.warnings if "stuck pixels" in w]
    assert warning.startswith("1 pictures have, in more than 8 bits, values far outside all their others")
    assert "tir: a few values from 29105 to 65535" in warning


def test_the_doctor_tells_of_a_built_set_what_the_build_told(thermal: Path, tmp_path: Path) -> None:
    root = build_here(config(thermal, tmp_path)).shards.root
    (found,) = [f for f in examine(root).findings if f.code == "range-outliers"]
    assert found.count == 1 and found.text.startswith("When the set was built, 1 pictures have")
    assert found.remedy.endswith("then build again")


def test_a_fixed_range_keeps_temperatures_apart_and_is_recorded(thermal: Path, tmp_path: Path) -> None:
    shards = build_here(config(thermal, tmp_path, FIXED)).shards
    assert shards.manifest.config["data"] == {"range": {"tir": {"fixed": [28_000, 31_000]}}}
    rows = {Path(s.labels.sample_id).stem: s for s in rows_of(shards, "train")}
    assert grey(rows["0_0"]).min() == 85, "1,000 of 3,000 above the lower limit"
    assert 8 <= grey(rows["2_0"]).mean() - grey(rows["0_0"]).mean() <= 26, "200 warmer"


def test_another_range_is_another_set_made_from_raw_files(thermal: Path, tmp_path: Path) -> None:
    usual, fixed = config(thermal, tmp_path), config(thermal, tmp_path, FIXED)
    assert shards_uri(usual) != shards_uri(fixed)
    assert shards_uri(usual) == shards_uri(config(thermal, tmp_path, "data.range={}"))
    build_here(usual)
    built = build_here(fixed)
    assert (built.built, built.reused) == (1, 0)
    assert not built.refreshed["kept"], "no row of the other range is taken"
    assert build_here(fixed).built == 0


def test_in_one_place_a_changed_range_makes_the_rows_anew(thermal: Path, tmp_path: Path) -> None:
    here = f"data.shards={tmp_path / 'set'}"
    first = build_here(config(thermal, tmp_path, here)).shards
    second = build_here(config(thermal, tmp_path, here, "data.range.tir=min_max")).shards
    assert first.root == second.root and first.fingerprint != second.fingerprint
    rows = {Path(s.labels.sample_id).stem: s for s in rows_of(second, "train")}
    assert grey(rows["1_1"])[1:].max() < 10, "its stuck pixel stretches it"


def test_notes_stay_when_rows_come_from_an_earlier_set(thermal: Path, tmp_path: Path) -> None:
    before = build_here(config(thermal, tmp_path)).shards.manifest.notes
    made = build_here(config(thermal, tmp_path, "build.generate={mask: {generator: mask_prior}}"))
    assert made.refreshed["kept"] == {"read": 1}
    assert made.shards.manifest.notes == before


def test_the_fourth_band_becomes_the_captures_near_infrared(tmp_path: Path) -> None:
    root = tmp_path / "in"
    bands = np.random.default_rng(0).integers(0, 256, (24, 12, 4), dtype=np.uint8)
    for pid in range(2):
        (root / f"{pid:04d}").mkdir(parents=True)
        (root / f"{pid:04d}" / "c1.tif").write_bytes(raw_tiff(np.roll(bands, pid, 0)))
    plain = [f"data.reader={{name: folder, path: {root}, test_fraction: 0}}"]
    dropped = build_here(config(root, tmp_path, *plain))
    assert any("data.fourth_band=nir takes it" in w for w in dropped.warnings)
    taken = build_here(config(root, tmp_path, *plain, "data.fourth_band=nir"))
    assert not any("fourth_band" in w for w in taken.warnings)
    (first, _) = rows_of(taken.shards, "train")
    assert first.modalities == (RGB, NIR)
    assert np.array_equal(first.pixels("nir")[..., 0], bands[..., 3])
    assert [s.modalities for s in rows_of(dropped.shards, "train")] == [(RGB,), (RGB,)]
