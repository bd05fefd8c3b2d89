"""LLCM as published: training lists with labels, test folders by camera, cameras that see both modalities."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reid.data.readers.base import Record
from reid.data.readers.llcm import Config, Reader
from reid.data.shards.schema import ROLES, validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from tests.support.public_layouts.llcm import TEST, TRAIN, write, write_list
from tests.support.sets.shards import make_shards


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for kind, lines in TRAIN.items():
        write_list(tmp_path, f"train_{kind}.txt", lines)
        for line in lines:
            write(tmp_path, line.split(" ")[0])
    write_list(tmp_path, "test_id.txt", ["1064,3"])
    for name in TEST:
        write(tmp_path, name)
        write(tmp_path, f"{name[5:8]}/{name.split('/')[2]}/{name.rpartition('/')[2]}")  # vis and nir hold all
    return tmp_path


def reader(root: Path) -> Reader:
    return Reader(Config(path=str(root)), "llcm")


def read(root: Path) -> list[Record]:
    return list(reader(root).records())


def test_training_pictures_are_the_listed_ones_with_the_camera_of_their_name(root: Path) -> None:
    train = [r for r in read(root) if r.labels.split == "train"]
    assert [(r.labels.sample_id, r.labels.pid, r.labels.camid, *r.images) for r in train] == [
        ("vis/0004/0004_c03_s1_f2_vis", 4, 2, Modality.RGB),
        ("vis/0351/0351_c09_s200_f48_vis", 351, 8, Modality.RGB),
        ("nir/0004/0004_c01_s1_f2_nir", 4, 0, Modality.NIR),
        ("nir/0351/0351_c06_s200_f48_nir", 351, 5, Modality.NIR),
    ]
    assert {(r.labels.roles, r.labels.location, r.problem) for r in train} == {(None, None, None)}


@pytest.mark.parametrize("name", ["0004_s1_f2_vis.jpg", "0004_c0_s1.jpg", "0004_c12_s1.jpg", "0004_cam.jpg"])
def test_a_training_name_without_a_camera_has_none(root: Path, name: str) -> None:
    write(root, f"vis/0004/{name}")
    write_list(root, "train_vis.txt", [f"vis/0004/{name} 0", TRAIN["vis"][1]])
    assert (read(root)[0].labels.camid, read(root)[0].problem) == (None, None)


def test_test_pictures_have_the_camera_of_their_folder_whatever_the_modality(root: Path) -> None:
    test = [r for r in read(root) if r.labels.split == "test"]
    assert [(r.labels.sample_id, r.labels.pid, r.labels.camid, *r.images) for r in test] == [
        ("test_vis/cam1/0003/0003_c01_s18_f31_vis", 3, 0, Modality.RGB),
        ("test_vis/cam3/0003/0003_c03_s18_f31_vis", 3, 2, Modality.RGB),
        ("test_nir/cam1/0003/0003_c01_s18_f30_nir", 3, 0, Modality.NIR),
        ("test_nir/cam1/0003/0003_c01_s18_f31_nir", 3, 0, Modality.NIR),
        ("test_vis/cam9/1064/1064_c09_s18_f31_vis", 1064, 8, Modality.RGB),
        ("test_nir/cam8/1064/1064_c08_s18_f31_nir", 1064, 7, Modality.NIR),
    ]
    assert {(r.labels.roles, r.problem) for r in test} == {(ROLES, None)}
    for record in test:
        assert list(record.images.values()) == [f"{root}/{record.labels.sample_id}.jpg"]


def test_samples_are_well_formed_and_no_name_occurs_twice(root: Path) -> None:
    planned = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    samples = [reader(root).load(r, 1000) for r in planned]
    assert len({s.labels.sample_id for s in samples}) == 10
    assert [validate(s) for s in samples] == [[]] * 10


def test_what_no_list_names_is_passed_over(root: Path) -> None:
    before = read(root)
    for name in (
        "vis/0004/0004_c03_s9_f9_vis.jpg",
        "vis/0777/0777_c01_s1_f1_vis.jpg",
        "test_vis/cam1/0777/x.jpg",
    ):
        write(root, name)
    for name in ("test_vis/cam1/0003/Thumbs.db", "test_vis/cam1/0003/._a.jpg", "test_vis/list.txt"):
        (root / name).write_text("x")
    (root / "test_nir" / "cam3").mkdir()  # nothing is infrared there
    (root / "test_nir" / "cam10" / "0003").mkdir(parents=True)
    assert read(root) == before


def test_a_listed_training_picture_that_is_not_there_is_one_row_set_aside(root: Path) -> None:
    (root / "nir/0004/0004_c01_s1_f2_nir.jpg").unlink()
    (bad,) = [r for r in read(root) if r.problem]
    assert len(read(root)) == 10
    assert (bad.labels.sample_id, bad.labels.pid) == ("nir/0004/0004_c01_s1_f2_nir", 4)
    assert "idx/train_nir.txt line 2 names " in (bad.problem or "")
    with pytest.raises(DataError, match=r"is missing; restore the file or remove the line"):
        reader(root).load(bad, 1000)


def test_a_test_identity_without_a_picture_is_one_row_set_aside(root: Path) -> None:
    write_list(root, "test_id.txt", ["1064,3,500"])
    (bad,) = [r for r in read(root) if r.problem]
    assert (bad.labels.split, bad.labels.pid, bad.images) == ("test", 500, {})
    assert "idx/test_id.txt lists identity 500, but there is no .jpg file in test_{vis,nir}" in (
        bad.problem or ""
    )


def test_an_identity_may_be_in_one_modality_only(root: Path) -> None:
    shutil.rmtree(root / "test_nir" / "cam8")
    assert [r.labels.pid for r in read(root) if r.problem] == []


def test_an_identity_that_trains_and_is_tested_is_refused(root: Path) -> None:
    write_list(root, "test_id.txt", ["1064,3,351"])
    with pytest.raises(DataError, match=r"test_id\.txt and .*train_nir\.txt share identities: 351"):
        read(root)


def test_a_label_must_mean_one_identity_in_both_modalities(root: Path) -> None:
    write_list(root, "train_nir.txt", [line[:-1] + str(1 - int(line[-1])) for line in TRAIN["nir"]])
    with pytest.raises(
        DataError, match=r"train_nir\.txt line \d gives .* but .*train_vis\.txt line \d gives"
    ):
        read(root)


def test_label_gaps_are_refused(root: Path) -> None:
    for kind, lines in TRAIN.items():
        write_list(root, f"train_{kind}.txt", [line.replace(".jpg 1", ".jpg 2") for line in lines])
    with pytest.raises(DataError, match=r"the 2 labels do not run from 0 without a gap; missing: 1"):
        read(root)


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)<path>/\{test_vis,test_nir\}/cam<1 to 9>"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["idx/train_nir.txt", "idx/test_id.txt", "test_nir"])
def test_a_missing_part_shows_what_is_there_instead(root: Path, part: str) -> None:
    (root / part).rename(root / f"{part}x")
    shown = f"{part}x".rpartition("/")[2]
    with pytest.raises(DataError, match=rf"{part} is missing\. Found in .*: .*{shown}(?s:.*)Expected"):
        read(root)


def test_a_test_folder_without_cameras_shows_what_it_holds(root: Path) -> None:
    shutil.move(root / "test_nir" / "cam1", root / "test_nir" / "c1")
    shutil.rmtree(root / "test_nir" / "cam8")
    with pytest.raises(
        DataError, match=r"test_nir: no folder cam<1 to 9>\. Found in it: c1/\.(?s:.*)Expected"
    ):
        read(root)


def test_a_test_folder_of_another_layout_shows_what_it_holds(root: Path) -> None:
    shutil.rmtree(root / "test_nir")
    write(root, "test_nir/cam2/person3/a.jpg")
    found = r"test_nir/cam2: no \.jpg file of a listed identity\. Found in it: person3/"
    with pytest.raises(DataError, match=rf"{found}\.(?s:.*)Expected"):
        read(root)


def stored_test_labels(root: Path) -> list[SampleLabels]:
    """The labels of the test split, through a shard."""
    samples = [reader(root).load(r, 1000) for r in read(root) if r.labels.split == "test"]
    return [SampleLabels.of(s) for s in make_shards(root / "shards", [samples]).labels("test")]


def test_the_protocol_leaves_out_the_identity_in_the_querys_own_camera(root: Path) -> None:
    labels, protocol = stored_test_labels(root), get_protocol("llcm")
    queries = protocol.queries(labels, [Modality.RGB]).items
    gallery = protocol.gallery(labels, [Modality.NIR]).items
    dropped = protocol.exclude(*label_arrays_of(queries, gallery, labels))
    pairs = [(queries[i].query_id[:18], gallery[j].item_id) for i, j in dropped.nonzero().tolist()]
    assert pairs == [
        ("test_vis/cam1/0003", "test_nir/cam1/0003/0003_c01_s18_f30_nir"),
        ("test_vis/cam1/0003", "test_nir/cam1/0003/0003_c01_s18_f31_nir"),
    ]
    trials = protocol.gallery_trials(gallery)
    assert [len(trial) for trial in trials] == [2] * 10  # one picture a camera and identity
