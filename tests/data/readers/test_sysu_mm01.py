"""SYSU-MM01 as published: cameras, locations, splits by lists of identities, and what is set aside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reid.config import load
from reid.config.protocols.catalogue import compose, protocol_config
from reid.data.readers.base import Record
from reid.data.readers.sysu_mm01 import Config, Reader
from reid.data.shards.schema import ROLES, validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import ConfigError, DataError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from tests.support.public_layouts.sysu_mm01 import LISTS, SEEN, write
from tests.support.sets.shards import make_shards


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for pid, cameras in SEEN.items():
        for camera in cameras:
            write(tmp_path, f"cam{camera}/{pid:04d}/0001.jpg")
    write(tmp_path, "cam3/0002/0010.jpg")
    write(tmp_path, "cam3/0002/0002.jpg")
    (tmp_path / "exp").mkdir()
    for name, text in LISTS.items():
        (tmp_path / "exp" / f"{name}_id.txt").write_text(f"{text}\n")
    return tmp_path


def reader(root: Path, **options: str) -> Reader:
    return Reader(Config.model_validate({"path": str(root), **options}), "sysu-mm01")


def read(root: Path, **options: str) -> list[Record]:
    return list(reader(root, **options).records())


def test_a_picture_is_a_sample_of_one_modality_in_the_lists_order(root: Path) -> None:
    records = read(root)
    assert [r.labels.sample_id for r in records] == [
        *(f"cam{c}/0001/0001" for c in "123456"),
        *(f"cam{c}/0004/0001" for c in "1236"),
        *(f"cam{c}/0005/0001" for c in "36"),
        "cam1/0002/0001",
        "cam2/0002/0001",
        *(f"cam3/0002/{n}" for n in ("0001", "0002", "0010")),
        *(f"cam{c}/0002/0001" for c in "456"),
        *(f"cam{c}/0010/0001" for c in "23"),
    ]
    assert [r.problem for r in records] == [None] * len(records)
    for record in records:
        (uri,) = record.images.values()
        assert uri == f"{root}/{record.labels.sample_id}.jpg"


def test_cameras_tell_camid_modality_and_location_and_two_of_them_share_a_room(root: Path) -> None:
    one = [r for r in read(root) if r.labels.pid == 1]
    assert [(r.labels.camid, *(m.value for m in r.images), r.labels.location) for r in one] == [
        (0, "rgb", "1"),
        (1, "rgb", "2"),
        (2, "nir", "2"),
        (3, "rgb", "4"),
        (4, "rgb", "5"),
        (5, "nir", "6"),
    ]


def splits(records: list[Record]) -> dict[str, set[int]]:
    return {s: {r.labels.pid for r in records if r.labels.split == s} for s in ("train", "val", "test")}


def test_validation_identities_train_unless_they_are_to_be_held_out(root: Path) -> None:
    assert splits(read(root)) == {"train": {1, 4, 5}, "val": set(), "test": {2, 10}}
    assert splits(read(root, val="val")) == {"train": {1, 4}, "val": {5}, "test": {2, 10}}
    with pytest.raises(ConfigError, match=r"data\.reader\.val"):
        load("baseline/sysu-mm01", ["data.reader.val=test"])


def test_test_pictures_may_be_queries_and_gallery_and_others_have_no_role(root: Path) -> None:
    assert {(r.labels.split, r.labels.roles) for r in read(root, val="val")} == {
        ("train", None),
        ("val", None),
        ("test", ROLES),
    }


def test_samples_hold_the_pictures_as_they_are(root: Path) -> None:
    for record in read(root)[:3]:
        sample = reader(root).load(record, 1000)
        (image,) = sample.images.values()
        assert validate(sample) == []
        assert image.image == (root / f"{record.labels.sample_id}.jpg").read_bytes()
        assert (image.width, image.height) == (4, 8)


def test_holding_identities_out_rebuilds_them_and_nobody_else(root: Path) -> None:
    keys = {s: {r.labels.pid: reader(root).key(r) for r in read(root, val=s)} for s in ("train", "val")}
    assert {pid for pid in keys["train"] if keys["train"][pid] != keys["val"][pid]} == {5}


def test_a_listed_identity_without_a_picture_is_one_row_set_aside(root: Path) -> None:
    before = read(root)
    (root / "exp" / "test_id.txt").write_text("2,10,333\n")
    (root / "cam1" / "0333").mkdir()
    records = read(root)
    (bad,) = [r for r in records if r.problem]
    assert [r for r in records if r is not bad] == before
    assert (bad.labels.sample_id, bad.labels.split, bad.labels.pid) == ("test_id.txt/0333", "test", 333)
    assert "test_id.txt lists identity 333, but there is no .jpg file in cam<1-6>/0333; " in (
        bad.problem or ""
    )
    with pytest.raises(DataError, match="lists identity 333"):
        reader(root).load(bad, 1000)
    planned = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    assert sum(r.problem is not None for r in planned) == 1


def test_other_files_and_folders_are_passed_over(root: Path) -> None:
    before = read(root)
    for name in ("cam1/0001/Thumbs.db", "cam1/0001/._0001.jpg", "cam1/list.txt", "readme.txt"):
        (root / name).write_text("x")
    for name in ("cam7/0001/0001.jpg", "cam1/1/0001.jpg", "cam1/.cache/0001.jpg"):
        write(root, name)
    assert read(root) == before


def test_identities_in_two_lists_are_refused(root: Path) -> None:
    (root / "exp" / "val_id.txt").write_text("5,10,2")
    with pytest.raises(DataError, match=r"exp/test_id\.txt and exp/val_id\.txt share identities: 2, 10\."):
        read(root)


def test_a_list_that_is_none_is_refused_by_name(root: Path) -> None:
    (root / "exp" / "train_id.txt").write_text("1,four")
    with pytest.raises(DataError, match=r"exp/train_id\.txt: not an identity number: 'four'"):
        read(root)


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)cam\{1,2,3,4,5,6\}/<identity"):
        read(tmp_path / "nowhere")


def test_a_missing_list_shows_what_is_there_instead(root: Path) -> None:
    (root / "exp" / "val_id.txt").rename(root / "exp" / "val_id.mat")
    found = r"available_id\.txt, test_id\.txt, train_id\.txt, val_id\.mat"
    with pytest.raises(
        DataError, match=rf"val_id\.txt is missing\. Found in .*exp: {found}\.(?s:.*)Expected"
    ):
        read(root)


def test_a_missing_camera_shows_what_is_there_instead(root: Path) -> None:
    shutil.rmtree(root / "cam6")
    found = "cam1/, cam2/, cam3/, cam4/, cam5/, exp/"
    with pytest.raises(DataError, match=rf"cam6 is missing\. Found in .*: {found}\.(?s:.*)Expected"):
        read(root)


def test_a_camera_of_another_layout_shows_what_it_holds(root: Path) -> None:
    shutil.rmtree(root / "cam4")
    write(root, "cam4/rgb/0001/0001.jpg")
    with pytest.raises(
        DataError, match=r"cam4: no \.jpg file of a listed identity\. Found in it: rgb/\.(?s:.*)Expected"
    ):
        read(root)


def test_sample_modalities_are_those_of_the_preset(root: Path) -> None:
    config = load("baseline/sysu-mm01", [f"data.reader.path={root}"])
    records = Reader(config.data.reader, config.data.name).records()
    assert (
        {m for r in records for m in r.images} == set(config.data.modalities) == {Modality.RGB, Modality.NIR}
    )
    assert {r.labels.dataset for r in records} == {"sysu-mm01"}


def stored_test_labels(root: Path) -> list[SampleLabels]:
    """The labels of the test split, through a shard."""
    samples = [reader(root).load(r, 1000) for r in read(root) if r.labels.split == "test"]
    return [SampleLabels.of(s) for s in make_shards(root / "shards", [samples]).labels("test")]


def test_the_protocols_find_their_cameras_and_leave_out_the_querys_room(root: Path) -> None:
    labels = stored_test_labels(root)
    every, indoor = get_protocol("sysu_all"), get_protocol("sysu_indoor")
    queries = every.queries(labels, [Modality.NIR]).items
    gallery = every.gallery(labels, [Modality.RGB]).items
    assert [q.query_id for q in queries] == [
        *(f"cam3/0002/{n}" for n in ("0001", "0002", "0010")),
        "cam6/0002/0001",
        "cam3/0010/0001",
    ]
    assert [g.item_id[:9] for g in gallery] == [*(f"cam{c}/0002" for c in "1245"), "cam2/0010"]
    assert [g.item_id[:9] for g in indoor.gallery(labels, [Modality.RGB]).items] == [
        "cam1/0002",
        "cam2/0002",
        "cam2/0010",
    ]
    dropped = every.exclude(*label_arrays_of(queries, gallery, labels))
    for query, row in zip(queries, dropped.tolist(), strict=True):
        left_out = [g.item_id[:4] for g, drop in zip(gallery, row, strict=True) if drop]
        assert left_out == (["cam2", "cam2"] if query.query_id.startswith("cam3") else [])


def test_permutations_go_by_the_numbers_of_the_names(root: Path) -> None:
    write(root, "cam1/0002/0007.jpg")
    gallery = get_protocol("sysu_all").gallery(stored_test_labels(root), [Modality.RGB]).items
    (root / "perm.json").write_text(
        json.dumps({c: {"2": [[7, 1] if c == 0 else [1]], "10": [[1]]} for c in (0, 1, 3, 4)})
    )
    sampling = {"method": "permutation", "permutations": f"{root}/perm.json", "trials": 1}
    protocol = get_protocol(
        protocol_config(compose({"extends": "sysu_all", "gallery": {"sampling": sampling}}))
    )
    (drawn,) = protocol.gallery_trials(gallery)
    assert [gallery[i].item_id for i in drawn] == [
        "cam1/0002/0007",
        "cam2/0002/0001",
        "cam2/0010/0001",
        "cam4/0002/0001",
        "cam5/0002/0001",
    ]
