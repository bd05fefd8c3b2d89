"""Faults to plant into a healthy set, and what must be told of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.sets.healthy import World, picture, recoded
from tests.support.sets.tiffs import raw_tiff


@dataclass(frozen=True)
class Fault:
    """How a fault is planted, and what must be told: code -> count, its own first, then companions."""

    plant: Callable[[World], object]
    told: dict[str, int]
    level: str
    example: str = ""
    words: tuple[str, ...] = field(default=())


def copy(a: Path, b: Path) -> None:
    shutil.copyfile(a, b)


def set_all(world: World, key: str, value: object, split: str | None = None) -> None:
    for row in world.rows:
        if split in (None, row["split"]):
            row[key] = value


def only_gallery_of_11(world: World) -> None:
    set_all(world, "role", "query", "test")
    for camera in (1, 2):
        for modality in ("rgb", "nir"):
            world.row(11, camera, modality)["role"] = "gallery"


def overlap(world: World) -> None:
    for camera in (0, 1):
        world.add(11, camera, "train", seed=100 + camera)


def leak(world: World) -> None:
    overlap(world)
    copy(world.file(11, 2), world.root / "train_11_0_rgb.png")


def validation_overlap(world: World) -> None:
    for pid, seed in ((11, 200), (12, 210)):
        for camera in (0, 1):
            world.add(pid, camera, "val", seed=seed + camera)


def rare_nir(world: World) -> None:
    for pid in (1, 2):
        for camera in (1, 2):
            world.drop(pid, camera, "nir")


def stuck_pixel(world: World) -> None:
    file = world.file(1, 0, "nir")
    values = np.asarray(Image.open(file).convert("L")).astype(np.uint16) + 7_500
    values[3, 3] = 65_535
    Image.fromarray(values).save(file)


def alpha(world: World, value: int) -> None:
    layers = Image.open(world.file(1, 0))
    layers.putalpha(value)
    layers.save(world.file(1, 0))


def four_bands(world: World) -> None:
    colours = np.asarray(Image.open(world.file(1, 0)))
    world.file(1, 0).write_bytes(raw_tiff(np.dstack([colours, 255 - colours[..., :1]])))


def caption(world: World, pid: int, text: str) -> None:
    world.row(pid, 0)["caption"] = text


def same_caption(world: World) -> None:
    caption(world, 1, "A man in  black")
    caption(world, 2, "a man in black")


def replace(world: World, pid: int, camera: int, data: bytes) -> None:
    world.file(pid, camera).write_bytes(data)


def blank(world: World) -> None:
    Image.new("RGB", (32, 64), (90, 90, 90)).save(world.file(1, 0))


FAULTS: dict[str, Fault] = {
    "a file is missing": Fault(
        lambda w: w.file(1, 0, "nir").unlink(),
        {"unusable-row": 1},
        "error",
        "train_1_0_nir.png, which is missing",
        ("restore the file or remove the row",),
    ),
    "a file is no picture": Fault(
        lambda w: replace(w, 1, 0, b"hello"), {"unreadable": 1}, "error", "train_1_0_rgb.png: not an image"
    ),
    "a file is empty": Fault(
        lambda w: replace(w, 11, 0, b""), {"unreadable": 1}, "error", "test_11_0_rgb.png: empty"
    ),
    "a picture has two identities": Fault(
        lambda w: copy(w.file(1, 0), w.file(2, 1)),
        {"same-picture-two-identities": 1},
        "error",
        "train_1_0_rgb.png = ",
    ),
    "an identity has one capture": Fault(
        lambda w: [w.drop(1, c) for c in (1, 2)],
        {"single-capture": 1},
        "warning",
        "train_1_0",
        ("train 1",),
    ),
    "an identity has one camera": Fault(
        lambda w: [r.update(camid=0) for r in w.rows if r["pid"] == 2],
        {"single-camera": 1},
        "warning",
        "identity 2, camera 0",
        ("train 1",),
    ),
    "a tested identity has one camera": Fault(
        lambda w: [r.update(camid=0) for r in w.rows if r["pid"] == 12],
        {"single-camera": 1, "query-without-positive": 3},
        "warning",
        "identity 12",
    ),
    "queries have no gallery": Fault(
        only_gallery_of_11,
        {"query-without-positive": 3},
        "warning",
        "test_12_0",
        ("3 of 4 queries", "cross_camera"),
    ),
    "there is no gallery": Fault(
        lambda w: set_all(w, "role", "query", "test"),
        {"empty-side": 1},
        "warning",
        "test_11_0",
        ("no gallery",),
    ),
    "identities are in train and test": Fault(
        overlap, {"train-test-overlap": 1}, "warning", "identity 11: train_11_0 and test_11_0", ("1 of 3",)
    ),
    "identities are in val and test": Fault(
        validation_overlap,
        {"val-test-overlap": 2},
        "warning",
        "identity 11: val_11_0 and test_11_0",
        ("2 of 2",),
    ),
    "a picture is in train and test": Fault(
        leak, {"same-picture-two-splits": 1, "train-test-overlap": 1}, "warning", "train_11_0_rgb.png"
    ),
    "nothing to train": Fault(
        lambda w: w.rows.__delitem__(slice(0, 12)), {"empty-split": 1}, "warning", "all 6 rows are test"
    ),
    "no camera is known": Fault(lambda w: set_all(w, "camid", ""), {"no-cameras": 12}, "info"),
    "a camera is unknown": Fault(
        lambda w: [w.row(2, 1, m).update(camid="") for m in ("rgb", "nir")],
        {"some-cameras-unknown": 1},
        "warning",
        "train_2_1",
        ("1 of 12",),
    ),
    "a modality is rare": Fault(rare_nir, {"modality-imbalance": 1}, "warning", "train: nir 2 against rgb 6"),
    "an identity lacks a modality": Fault(
        lambda w: [w.drop(2, c, "nir") for c in range(3)],
        {"identity-lacks-modality": 1},
        "warning",
        "identity 2 of train has no nir",
    ),
    "a capture lacks a modality": Fault(
        lambda w: w.drop(12, 1, "nir"), {"incomplete-capture": 1}, "warning", "test_12_1 has no nir"
    ),
    "a caption is too long": Fault(
        lambda w: caption(w, 1, "a red coat and " * 20 + "a hat"),
        {"long-caption": 1},
        "warning",
        "train_1_0: a red coat",
        ("1 of 12", "77 tokens"),
    ),
    "a caption is shared": Fault(same_caption, {"shared-caption": 1}, "warning", "identities 1, 2"),
    "a caption is foreign": Fault(
        lambda w: caption(w, 1, "ein grüner Mantel"), {"foreign-caption": 1}, "info", "grüner"
    ),
    "a picture is tiny": Fault(
        lambda w: picture(w.file(1, 0), 500, height=24, width=12),
        {"tiny-picture": 1},
        "warning",
        "rgb: 12x24",
    ),
    "a picture is huge": Fault(
        lambda w: picture(w.file(1, 0), 500, height=2900, width=1450),
        {"huge-picture": 1},
        "warning",
        "rgb: 1450x2900",
    ),
    "a picture has another shape": Fault(
        lambda w: picture(w.file(1, 0), 500, height=20, width=128), {"odd-shape": 1}, "warning", "rgb: 128x20"
    ),
    "a picture is blank": Fault(blank, {"blank-picture": 1}, "warning", "train_1_0, rgb"),
    "RGB is copied as NIR": Fault(
        lambda w: copy(w.file(1, 0), w.file(1, 0, "nir")),
        {"copied-modality": 1},
        "warning",
        "train_1_0: rgb = nir",
    ),
    "a query finds its copy": Fault(
        lambda w: copy(w.file(11, 0), w.file(11, 1)),
        {"query-finds-its-copy": 1},
        "warning",
        "test_11_0_rgb.png = ",
    ),
    "a training picture is repeated": Fault(
        lambda w: copy(w.file(1, 0), w.file(1, 2)), {"repeated-picture": 1}, "info", "train_1_0_rgb.png = "
    ),
    "a query finds its recoded copy": Fault(
        lambda w: replace(w, 11, 1, recoded(w.file(11, 0))),
        {"near-duplicate": 1},
        "warning",
        "test_11_0 ~ test_11_1 (rgb)",
    ),
    "a recoded picture has two identities": Fault(
        lambda w: replace(w, 12, 1, recoded(w.file(11, 0))),
        {"near-duplicate-two-identities": 1},
        "warning",
        "test_11_0 ~ test_12_1 (rgb)",
    ),
    "a sensor has a stuck pixel": Fault(
        stuck_pixel,
        {"range-outliers": 1},
        "warning",
        "train_1_0, nir: a few values from 7556 to 65535",
        ("data.range",),
    ),
    "alpha hides a picture": Fault(
        lambda w: alpha(w, 0), {"hidden-colours": 1}, "warning", "train_1_0, rgb: its alpha hides it"
    ),
    "a TIFF has a fourth band": Fault(
        four_bands, {"band-left-out": 1}, "warning", "train_1_0, rgb: a fourth band", ("data.fourth_band",)
    ),
    "a JPEG has a hole": Fault(
        lambda w: replace(w, 1, 0, recoded(w.file(1, 0), 95)[:-400] + b"\xff\xd9"),
        {"unreadable": 1},
        "error",
        "train_1_0_rgb.png: a part of the JPEG is lost",
    ),
    "texts lie there unread": Fault(
        lambda w: (w.root / "texts.json").write_text("{}"), {"unread-table": 1}, "info", "texts.json"
    ),
}
