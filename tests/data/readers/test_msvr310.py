"""MSVR310 as published: names, scenes, roles, missing counterparts; the scene reaches the protocol."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.data.readers.base import Record
from reid.data.readers.msvr310 import Config, Reader
from reid.data.shards.schema import validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from tests.support.sets.shards import make_shards

ALL = ("vis", "ni", "th")
TRAIN = ("0001_s001_v0_000.jpg", "0300_s030_v7_002.jpg")
GALLERY = ("0019_s012_v0_000.jpg", "0019_s012_v3_001.jpg", "0019_s004_v0_000.jpg", "0020_s012_v0_000.jpg")
QUERY = GALLERY[:1]  # the query's picture lies in the gallery too, under the same name


def write(
    root: Path, folder: str, name: str, kinds: tuple[str, ...] = ALL, identity: str | None = None
) -> None:
    for kind in kinds:
        path = root / folder / (identity or name[:4]) / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 8, 3), 40 * ALL.index(kind), np.uint8)).save(path, "JPEG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in reversed(TRAIN):
        write(tmp_path, "bounding_box_train", name)
    for name in QUERY:
        write(tmp_path, "query3", name)
    for name in GALLERY:
        write(tmp_path, "bounding_box_test", name)
    return tmp_path


def reader(root: Path) -> Reader:
    return Reader(Config(path=str(root)), "msvr310")


def read(root: Path) -> list[Record]:
    return list(reader(root).records())


def test_names_give_pid_scene_and_camera_and_folders_split_and_role(root: Path) -> None:
    labels = [r.labels for r in read(root)]
    assert [(v.sample_id, v.split, v.roles, v.pid, v.location, v.camid) for v in labels] == [
        ("bounding_box_train/0001/0001_s001_v0_000", "train", None, 1, "1", 0),
        ("bounding_box_train/0300/0300_s030_v7_002", "train", None, 300, "30", 7),
        ("query3/0019/0019_s012_v0_000", "test", ("query",), 19, "12", 0),
        ("bounding_box_test/0019/0019_s004_v0_000", "test", ("gallery",), 19, "4", 0),
        ("bounding_box_test/0019/0019_s012_v0_000", "test", ("gallery",), 19, "12", 0),
        ("bounding_box_test/0019/0019_s012_v3_001", "test", ("gallery",), 19, "12", 3),
        ("bounding_box_test/0020/0020_s012_v0_000", "test", ("gallery",), 20, "12", 0),
    ]
    assert {v.dataset for v in labels} == {"msvr310"}


def test_a_query_and_its_copy_in_the_gallery_are_two_samples(root: Path) -> None:
    records = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    assert len({r.labels.sample_id for r in records}) == len(records) == 7
    assert [r.problem for r in records] == [None] * 7


def test_the_three_files_of_a_name_are_one_sample(root: Path) -> None:
    record = read(root)[0]
    assert {m: uri.removeprefix(f"{root}/bounding_box_train/0001/") for m, uri in record.images.items()} == {
        Modality.RGB: f"vis/{TRAIN[0]}",
        Modality.NIR: f"ni/{TRAIN[0]}",
        Modality.TIR: f"th/{TRAIN[0]}",
    }
    sample = reader(root).load(record, 1000)
    assert validate(sample) == []
    assert sample.modalities == (Modality.RGB, Modality.NIR, Modality.TIR)
    values = [np.asarray(Image.open(Path(uri))).mean() for uri in record.images.values()]
    assert np.round(values, -1).tolist() == [0, 40, 80]


@pytest.mark.parametrize(
    ("there", "modalities"),
    [
        (("vis",), [Modality.RGB]),
        (("vis", "th"), [Modality.RGB, Modality.TIR]),
        (("ni",), [Modality.NIR]),
    ],
)
def test_a_missing_counterpart_leaves_the_modalities_that_are_there(
    root: Path, there: tuple[str, ...], modalities: list[Modality]
) -> None:
    write(root, "bounding_box_test", "0030_s001_v0_000.jpg", there)
    record = read(root)[-1]
    assert (record.labels.pid, [*record.images], record.problem) == (30, modalities, None)


@pytest.mark.parametrize(
    "name",
    ["car.jpg", "019_s012_v0_000.jpg", "0019_s12_v0_000.jpg", "0019_s012_v8_000.jpg", "0019_v0_s012.jpg"],
)
def test_a_name_that_says_nothing_is_set_aside(root: Path, name: str) -> None:
    write(root, "query3", name, identity="0019")
    (bad,) = [r for r in read(root) if r.problem]
    assert (bad.problem or "").startswith(f"{root}/query3/0019/vis/{name}: ")
    assert "rename or remove" in (bad.problem or "")
    with pytest.raises(DataError, match="rename or remove"):
        reader(root).load(bad, 1000)


def test_a_picture_in_another_identitys_folder_is_set_aside_and_the_real_one_stays(root: Path) -> None:
    write(root, "bounding_box_test", "0019_s012_v0_000.jpg", identity="0018")
    records = read(root)
    assert [r.labels.sample_id for r in records if r.problem] == ["bounding_box_test/0018/0019_s012_v0_000"]
    assert "bounding_box_test/0019/0019_s012_v0_000" in [r.labels.sample_id for r in records if not r.problem]


def test_other_files_are_passed_over(root: Path) -> None:
    for name in ("Thumbs.db", "._0019_s012_v0_000.jpg", "list.txt"):
        (root / "query3" / "0019" / "vis" / name).write_text("x")
    (root / "query3" / "list.txt").write_text("x")
    (root / "query3" / ".cache").mkdir()
    assert len(read(root)) == 7


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)query3/<4-digit pid>/\{vis,ni,th\}"):
        read(tmp_path / "nowhere")


def test_a_missing_folder_shows_what_is_there_instead(root: Path) -> None:
    shutil.move(root / "query3", root / "query")
    found = "bounding_box_test/, bounding_box_train/, query/"
    with pytest.raises(DataError, match=rf"query3 is missing\. Found in .*: {found}\.(?s:.*)Expected"):
        read(root)


def test_a_modality_that_no_identity_has_shows_what_one_has(root: Path) -> None:
    shutil.move(root / "query3" / "0019" / "th", root / "query3" / "0019" / "tir")
    found = r"Found in .*query3/0019: ni/, tir/, vis/"
    with pytest.raises(DataError, match=rf"query3: no \.jpg file in any <pid>/th\. {found}"):
        read(root)


def test_a_folder_without_identities_is_refused(root: Path) -> None:
    shutil.rmtree(root / "query3")
    (root / "query3").mkdir()
    with pytest.raises(DataError, match=r"query3: no \.jpg file in any <pid>/vis\. Found in .*: nothing\."):
        read(root)


def test_the_scene_of_a_name_reaches_the_protocol_through_a_shard(root: Path) -> None:
    samples = [reader(root).load(r, 1000) for r in read(root) if r.labels.split == "test"]
    stored = make_shards(root / "shards", [samples]).labels("test")
    labels = [SampleLabels.of(s) for s in stored]
    protocol = get_protocol("cross_scene")
    queries = protocol.queries(labels, [Modality.TIR]).items
    gallery = protocol.gallery(labels, [Modality.TIR]).items
    assert [q.query_id for q in queries] == ["query3/0019/0019_s012_v0_000"]
    dropped = protocol.exclude(*label_arrays_of(queries, gallery, labels))[0].tolist()
    assert {g.item_id.rpartition("/")[2]: drop for g, drop in zip(gallery, dropped, strict=True)} == {
        "0019_s004_v0_000": False,  # another scene: what is to be found, although the camera is the same
        "0019_s012_v0_000": True,  # the query's own picture
        "0019_s012_v3_001": True,  # its scene from another camera
        "0020_s012_v0_000": False,  # its scene, another vehicle
    }
