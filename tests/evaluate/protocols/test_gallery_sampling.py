"""Drawn galleries: the AGW convention against its definition on folders, permutation files, cells."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from reid.config.protocols.spec import ProtocolConfig, SamplingConfig
from reid.errors import DataError
from reid.evaluate.protocols.gallery_sampling import gallery_trials
from reid.evaluate.protocols.items import GalleryItem, SampleLabels
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.modality import Modality
from tests.support.retrieval.evaluation_rows import CAPTURED, infrared, row

RGB, NIR = Modality.RGB, Modality.NIR

FOLDERS = {
    ("cam1", "0006"): 3,
    ("cam2", "0006"): 1,
    ("cam1", "0010"): 12,
    ("cam5", "0010"): 4,
    ("cam2", "0009"): 7,
    ("cam4", "0009"): 5,
}
"""(camera, identity) -> pictures 0001.jpg, 0002.jpg, ... of SYSU-MM01."""
CAMERAS = ["cam1", "cam2", "cam4", "cam5"]


def agw(trial: int) -> list[str]:
    """The definition: seed by the trial, identities outside, cameras inside, one of the sorted files."""
    random.seed(trial)
    gallery = []
    for pid in sorted({pid for _, pid in FOLDERS}):
        for camera in CAMERAS:
            if (camera, pid) in FOLDERS:
                files = sorted(f"{camera}/{pid}/{n:04d}.jpg" for n in range(1, FOLDERS[camera, pid] + 1))
                gallery.append(random.choice(files).removesuffix(".jpg"))
    return gallery


@pytest.fixture
def labels() -> list[SampleLabels]:
    """Those folders as the reader gives them, in another order."""
    rows = [
        row(f"{camera}/{pid}/{n:04d}", int(pid), int(camera[3]) - 1)
        for (camera, pid), count in FOLDERS.items()
        for n in range(1, count + 1)
    ]
    random.Random(3).shuffle(rows)
    return rows


@pytest.fixture
def pool(labels: list[SampleLabels]) -> tuple[GalleryItem, ...]:
    return get_protocol("all").gallery(labels, [RGB]).items


def names(pool: tuple[GalleryItem, ...], drawn: list[int]) -> list[str]:
    return [pool[i].item_id for i in drawn]


def test_single_shot_galleries_are_those_of_agw_trial_by_trial(pool: tuple[GalleryItem, ...]) -> None:
    drawn = get_protocol("sysu_all").gallery_trials(pool)
    assert [names(pool, one) for one in drawn] == [agw(trial) for trial in range(10)]
    assert len({tuple(one) for one in drawn}) > 1


def test_another_seed_starts_the_trials_elsewhere(pool: tuple[GalleryItem, ...]) -> None:
    drawn = gallery_trials(SamplingConfig(trials=2, seed=4), pool)
    assert [names(pool, one) for one in drawn] == [agw(4), agw(5)]


def test_several_shots_are_distinct_and_a_small_cell_gives_all(pool: tuple[GalleryItem, ...]) -> None:
    drawn = names(pool, gallery_trials(SamplingConfig(shots=5, trials=1), pool)[0])
    count = {key: sum(name.startswith("/".join(key)) for name in drawn) for key in FOLDERS}
    assert count == {key: min(5, size) for key, size in FOLDERS.items()}
    assert len(set(drawn)) == len(drawn)


def test_no_shots_are_one_trial_of_everything(pool: tuple[GalleryItem, ...]) -> None:
    everything = [range(len(pool))]
    assert gallery_trials(None, pool) == gallery_trials(SamplingConfig(shots=None), pool) == everything


def test_a_cell_may_be_one_modality_of_a_camera() -> None:
    labels = [row("a", 0, 1), infrared("b", 0, 1), infrared("c", 0, 1), row("d", 0, None), row("e", 0, None)]
    pool = get_protocol("llcm_mix").mixed_gallery(labels, [(RGB,), (NIR,)]).items
    by_modality = gallery_trials(SamplingConfig(per=("pid", "camid", "modality"), trials=1), pool)[0]
    by_camera = gallery_trials(SamplingConfig(trials=20), pool)
    assert len(by_modality) == 3  # infrared and RGB of the camera, one of no known camera
    assert {len(one) for one in by_camera} == {2}
    assert len({pool[one[1]].item_id for one in by_camera}) == 3  # all three pictures of the camera come


def test_the_same_number_in_two_data_sets_is_two_cells() -> None:
    labels = [row("a", 0, 1), row("b", 0, 1, dataset="other")]
    pool = get_protocol("all").gallery(labels, [RGB]).items
    assert len(gallery_trials(SamplingConfig(trials=1), pool)[0]) == 2


def test_names_sort_as_files_do_even_in_a_mixed_gallery() -> None:
    labels = [row(name, 0, 1, images={RGB: CAPTURED, NIR: CAPTURED}) for name in ("x/12", "x/1")]
    protocol = Protocol(ProtocolConfig(gallery={"mixed": True}))
    pool = protocol.mixed_gallery(labels, [(RGB,), (NIR,)]).items
    picked = {pool[gallery_trials(SamplingConfig(trials=1, seed=s), pool)[0][0]].item_id for s in range(30)}
    assert picked == {"x/1:nir", "x/1:rgb", "x/12:nir", "x/12:rgb"}
    first = random.Random(0).choice(["x/1:nir", "x/1:rgb", "x/12:nir", "x/12:rgb"])
    assert pool[gallery_trials(SamplingConfig(trials=1), pool)[0][0]].item_id == first


PERMUTATIONS = {
    "0": {"6": [[2, 1, 3], [3, 1, 2]], "10": [[12, 2, 1], [1, 2, 3]]},
    "1": {"6": [[1], [1]], "9": [[7, 6, 5], [4, 3, 2]]},
    "3": {"9": [[5, 4, 3], [2, 1, 3]]},
    "4": {"10": [[99, 4, 3], [1, 2, 3]]},  # number 99 was set aside when the set was built
}


def by_file(uri: Path, shots: int = 1, trials: int = 2) -> SamplingConfig:
    return SamplingConfig(method="permutation", permutations=str(uri), shots=shots, trials=trials)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "permutations.json"
    path.write_text(json.dumps(PERMUTATIONS))
    return path


def test_a_permutation_file_decides_by_camera_identity_and_trial(
    file: Path, pool: tuple[GalleryItem, ...]
) -> None:
    drawn = gallery_trials(by_file(file), pool)
    assert names(pool, drawn[0]) == [
        "cam1/0006/0002",
        "cam1/0010/0012",
        "cam2/0006/0001",
        "cam2/0009/0007",
        "cam4/0009/0005",
        "cam5/0010/0004",
    ]
    assert names(pool, drawn[1])[0] == "cam1/0006/0003"
    two = names(pool, gallery_trials(by_file(file, shots=2, trials=1), pool)[0])
    assert two[:4] == ["cam1/0006/0002", "cam1/0006/0001", "cam1/0010/0012", "cam1/0010/0002"]


def test_the_published_mat_file_is_read_like_the_json(file: Path, pool: tuple[GalleryItem, ...]) -> None:
    cameras = np.empty((6, 1), dtype=object)  # a cell array of cell arrays, as published
    for camera in range(6):
        cells = np.empty((10, 1), dtype=object)
        for pid in range(10):
            rows = PERMUTATIONS.get(str(camera), {}).get(str(pid + 1), [])
            cells[pid, 0] = np.array(rows, dtype=np.uint8)
        cameras[camera, 0] = cells
    mat = file.with_suffix(".mat")
    savemat(mat, {"rand_perm_cam": cameras})
    assert gallery_trials(by_file(mat), pool) == gallery_trials(by_file(file), pool)


def test_bytes_that_are_no_mat_file_are_told(tmp_path: Path, pool: tuple[GalleryItem, ...]) -> None:
    (tmp_path / "x.mat").write_bytes(b"x")
    with pytest.raises(DataError, match=r"permutations: .*x\.mat is no permutation file"):
        gallery_trials(by_file(tmp_path / "x.mat"), pool)


def test_a_file_that_does_not_fit_is_told(file: Path, pool: tuple[GalleryItem, ...]) -> None:
    with pytest.raises(DataError, match=r"no permutation for trial 2 of camera 0, identity 6; it has 2"):
        gallery_trials(by_file(file, trials=3), pool)
    file.write_text('{"cam1": []}')
    with pytest.raises(DataError, match=r"permutations: .*json is no permutation file"):
        gallery_trials(by_file(file), pool)
    file.write_text(json.dumps(PERMUTATIONS))
    unnumbered = get_protocol("all").gallery([row("cam1/0006/front", 6, 0)], [RGB]).items
    with pytest.raises(DataError, match="no file number"):
        gallery_trials(by_file(file), unnumbered)


def test_how_galleries_were_drawn_is_told_in_the_summary(file: Path) -> None:
    seeded = get_protocol("sysu_all").summary
    assert "10 galleries of at most 1 per (pid, camid): random.choice in sorted order, seeds 0 to 9" in seeded
    assert "CMC counts identities" in seeded
    filed = Protocol(ProtocolConfig(gallery={"sampling": by_file(file)})).summary
    assert str(file) in filed and "random.choice" not in filed
