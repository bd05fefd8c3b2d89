"""RegDB as published: ten splits by labelled lists, numbers of folders as identities, BMP files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from reid.config import load
from reid.data.images import decode_rgb
from reid.data.readers.base import Record
from reid.data.readers.regdb import Config, Reader
from reid.data.shards.schema import ROLES, validate
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import ConfigError, DataError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality
from tests.support.public_layouts.regdb import FOLDERS, TRIALS, lines, name, write_list
from tests.support.sets.shards import make_shards

LIMIT = 10_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for kind in FOLDERS:
        for pid in (3, 7, 12, 40):
            for number in (1, 2):
                path = tmp_path / name(kind, pid, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 4, 3), pid, np.uint8)).save(path, "BMP")
        for trial, sides in TRIALS.items():
            for split, pids in sides.items():
                write_list(tmp_path, split, kind, trial, lines(kind, pids))
    return tmp_path


def reader(root: Path, trial: int = 1) -> Reader:
    return Reader(Config(path=str(root), trial=trial), "regdb")


def read(root: Path, trial: int = 1) -> list[Record]:
    return list(reader(root, trial).records())


def test_lists_give_the_split_and_the_modality_and_folders_the_identity(root: Path) -> None:
    records = read(root)
    assert [r.problem for r in records] == [None] * 16
    assert [(v.split, v.roles, v.pid, v.camid) for r in records[::2] for v in [r.labels]] == [
        ("train", None, 12, 0),
        ("train", None, 7, 0),
        ("train", None, 12, 1),
        ("train", None, 7, 1),
        ("test", ROLES, 3, 0),
        ("test", ROLES, 40, 0),
        ("test", ROLES, 3, 1),
        ("test", ROLES, 40, 1),
    ]
    assert [r.labels.sample_id for r in records[:2]] == [
        "Visible/12/male_back_v_00001_12",
        "Visible/12/male_back_v_00002_12",
    ]
    for record in records:
        ((modality, uri),) = record.images.items()
        assert modality is (Modality.RGB if record.labels.camid == 0 else Modality.TIR)
        assert uri == f"{root}/{record.labels.sample_id}.bmp"


def test_the_trial_picks_the_split_and_an_identity_keeps_its_number(root: Path) -> None:
    for trial, sides in TRIALS.items():
        records = read(root, trial)
        for split, pids in sides.items():
            assert {r.labels.pid for r in records if r.labels.split == split} == set(pids)
    samples = [{r.labels.sample_id: r.labels.pid for r in read(root, trial)} for trial in TRIALS]
    assert samples[0] == samples[1]


@pytest.mark.parametrize("trial", [0, 11])
def test_there_are_ten_trials(trial: int) -> None:
    assert load("baseline/regdb", ["data.reader.trial=10"]).data.reader.model_dump()["trial"] == 10
    with pytest.raises(ConfigError, match=r"data\.reader\.trial"):
        load("baseline/regdb", [f"data.reader.trial={trial}"])


def test_the_order_is_not_the_lists(root: Path) -> None:
    before = read(root)
    write_list(root, "train", "visible", 1, lines("visible", TRIALS[1]["train"])[::-1])
    assert read(root) == before


PICTURE = np.random.default_rng(0).integers(
    0, 256, (8, 6, 3), dtype=np.uint8
)  # rows of 18 bytes: padded to 20
PALETTE = Image.fromarray(PICTURE).quantize(16)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(PICTURE), PICTURE),
        (Image.fromarray(PICTURE[..., 0]), np.repeat(PICTURE[..., :1], 3, axis=2)),
        (PALETTE, np.asarray(PALETTE.convert("RGB"))),
        (
            Image.fromarray(PICTURE[..., 0] > 127),
            np.repeat((PICTURE[..., :1] > 127) * np.uint8(255), 3, axis=2),
        ),
    ],
    ids=["24 bit", "8 bit grey", "palette", "1 bit"],
)
def test_bitmaps_are_stored_as_they_are_and_decode_to_their_pixels(
    root: Path, picture: Image.Image, expected: npt.NDArray[np.uint8]
) -> None:
    path = root / name("thermal", 3, 1)
    picture.save(path, "BMP")
    (record,) = [r for r in read(root) if str(path) in r.images.values()]
    sample = reader(root).load(record, LIMIT)
    stored = sample.images[Modality.TIR]
    assert validate(sample) == []
    assert stored.image == path.read_bytes()
    assert (stored.width, stored.height) == (6, 8)
    np.testing.assert_array_equal(decode_rgb(stored.image, "x"), expected)


def test_a_32_bit_bitmap_becomes_opaque(root: Path) -> None:
    path = root / name("visible", 3, 1)
    Image.fromarray(PICTURE).convert("RGBA").save(path, "BMP")
    (record,) = [r for r in read(root) if str(path) in r.images.values()]
    stored = reader(root).load(record, LIMIT).images[Modality.RGB]
    np.testing.assert_array_equal(decode_rgb(stored.image, "x"), PICTURE)


def test_a_truncated_bitmap_is_refused_by_name(root: Path) -> None:
    path = root / name("visible", 3, 1)
    path.write_bytes(path.read_bytes()[:-20])
    (record,) = [r for r in read(root) if str(path) in r.images.values()]
    with pytest.raises(DataError, match=rf"{path}: truncated or corrupt"):
        reader(root).load(record, LIMIT)


def test_a_listed_picture_that_is_not_there_is_one_row_set_aside(root: Path) -> None:
    path = root / name("thermal", 40, 2)
    path.unlink()
    planned = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    (bad,) = [r for r in planned if r.problem]
    assert len(planned) == 16
    assert (bad.labels.pid, bad.labels.split) == (40, "test")
    assert f"test_thermal_1.txt line 3 names {path}, which is missing; restore" in (bad.problem or "")


def test_a_picture_listed_twice_is_set_aside_once(root: Path) -> None:
    write_list(root, "test", "visible", 1, [*lines("visible", (3, 40)), f"{name('visible', 3, 1)} 0"])
    planned = [r for plan in plan_shards(reader(root), "recipe", 100) for r in plan.records]
    assert [r.problem is None for r in planned].count(False) == 1


def test_a_picture_in_no_identitys_folder_is_set_aside(root: Path) -> None:
    (root / "Visible" / "x.bmp").write_bytes(b"x")
    write_list(root, "test", "visible", 1, [*lines("visible", (3, 40)), "Visible/x.bmp 0"])
    (bad,) = [r for r in read(root) if r.problem]
    assert "Visible/x.bmp lies in no folder that is an identity's number" in (bad.problem or "")


def test_a_label_must_mean_one_identity_in_both_modalities(root: Path) -> None:
    write_list(root, "train", "thermal", 1, lines("thermal", TRIALS[1]["train"][::-1]))
    with pytest.raises(DataError, match=r"train_thermal_1\.txt line \d gives .* but .*train_visible_1\.txt"):
        read(root)


def test_label_gaps_are_refused(root: Path) -> None:
    for kind in FOLDERS:
        shifted = [f"{name(kind, pid, 1)} {label}" for label, pid in ((1, 7), (3, 12))]
        write_list(root, "train", kind, 1, shifted)
    found = r"train_visible_1\.txt, .*train_thermal_1\.txt: the 2 labels do not run from 0"
    with pytest.raises(DataError, match=rf"{found} without a gap; missing: 0"):
        read(root)


def test_an_identity_that_trains_and_is_tested_is_refused(root: Path) -> None:
    for kind in FOLDERS:
        write_list(root, "test", kind, 1, lines(kind, (3, 7)))
    with pytest.raises(
        DataError, match=r"the test lists of trial 1 and the train lists .* share identities: 7"
    ):
        read(root)


def test_a_missing_root_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder(?s:.*)<path>/Thermal/<identity>/\*\.bmp"):
        read(tmp_path / "nowhere")


def test_a_missing_list_shows_what_is_there_instead(root: Path) -> None:
    with pytest.raises(DataError, match=r"train_visible_3\.txt is missing\. Found in .*idx: (?s:.*)Expected"):
        read(root, trial=3)
    shutil.rmtree(root / "idx")
    with pytest.raises(DataError, match=r"is missing\. Found in .*: Thermal/, Visible/\.(?s:.*)Expected"):
        read(root)


def test_a_missing_picture_folder_shows_what_is_there_instead(root: Path) -> None:
    shutil.move(root / "Thermal", root / "IR")
    with pytest.raises(
        DataError, match=r"none of its 4 pictures is there, .* IR/, Visible/, idx/\.(?s:.*)Expected"
    ):
        read(root)


def stored_test_labels(root: Path) -> list[SampleLabels]:
    """The labels of the test split, through a shard."""
    samples = [reader(root).load(r, LIMIT) for r in read(root) if r.labels.split == "test"]
    return [SampleLabels.of(s) for s in make_shards(root / "shards", [samples]).labels("test")]


@pytest.mark.parametrize(
    ("asked", "among"), [(Modality.RGB, Modality.TIR), (Modality.TIR, Modality.RGB)], ids=["rgb", "tir"]
)
def test_every_test_picture_is_sought_among_all_of_the_other_modality(
    root: Path, asked: Modality, among: Modality
) -> None:
    labels, protocol = stored_test_labels(root), get_protocol("regdb")
    queries, gallery = protocol.queries(labels, [asked]).items, protocol.gallery(labels, [among]).items
    assert (len(queries), len(gallery)) == (4, 4)
    assert {q.pid for q in queries} == {g.pid for g in gallery} == {3, 40}
    assert not protocol.exclude(*label_arrays_of(queries, gallery, labels)).any()
