"""Own folders that can be read but are meant otherwise: each doubt names a setting, and that mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reid.doctor.data.doubts import layout_doubts
from reid.doctor.finding import Finding
from tests.support.public_layouts.paths import MARKET, save
from tests.support.sets.folder_trees import put, reader
from tests.support.sets.healthy import by_code, healthy


def doubts(root: Path, **fields: str) -> list[Finding]:
    source = reader(root, **fields)
    return layout_doubts(source, source.records())


def settings(finding: Finding) -> dict[str, str]:
    """What the remedy says to set."""
    return dict(re.findall(r"data\.reader\.(\w+)='?([^\s']+)'?", finding.remedy))


def identities(root: Path, **fields: str) -> set[str]:
    records = reader(root, **fields).records()
    assert all(r.problem is None for r in records)
    return {r.labels.extra.get("identity", str(r.labels.pid)) for r in records}


PEOPLE = ("anna", "ben", "carl", "dora", "eve", "fred")
MISREAD = {
    "cameras with names of identities": (
        [f"cam{c}/{p}_{s}.jpg" for c in (1, 2) for p in PEOPLE for s in range(2)],
        ("cameras-as-identities", "error"),
    ),
    "cameras with folders of identities": (
        [f"Camera-{c}/{p}/{s}.jpg" for c in "AB" for p in PEOPLE for s in range(2)],
        ("cameras-as-identities", "error"),
    ),
    "places with names of identities": (
        [f"{c}/{p}-{s}.jpg" for c in ("door", "gate") for p in PEOPLE for s in range(2)],
        ("cameras-as-identities", "warning"),
    ),
    "cameras within splits": (
        [
            f"{t}/c{c}/{p}/{s}.jpg"
            for t in ("train", "test")
            for c in (1, 2)
            for p in PEOPLE
            for s in range(2)
        ],
        ("cameras-as-identities", "error"),
    ),
    "modalities with folders of identities": (
        [f"{m}/{p}/{s}.png" for m in ("visible", "thermal") for p in PEOPLE for s in range(2)],
        ("modalities-as-identities", "error"),
    ),
    "groups of identities": (
        [f"{g}/{g}_{p}/{s}.jpg" for g in ("day", "night") for p in PEOPLE for s in range(2)],
        ("groups-as-identities", "warning"),
    ),
    "a folder around all": (
        [f"crops/{p}/{s}.jpg" for p in PEOPLE for s in range(2)],
        ("one-identity", "error"),
    ),
    "all in one folder": (
        [f"images/{p}_{s}.jpg" for p in PEOPLE for s in range(2)],
        ("one-identity", "error"),
    ),
}


@pytest.mark.parametrize("name", MISREAD)
def test_a_misread_layout_is_doubted_and_the_setting_reads_it(name: str, tmp_path: Path) -> None:
    files, (code, level) = MISREAD[name]
    put(tmp_path, *files)
    (found,) = doubts(tmp_path)
    assert (found.code, found.level) == (code, level)
    mended = settings(found)
    assert mended, found.remedy
    people = {name.rpartition("_")[2] for name in identities(tmp_path, **{"path": str(tmp_path)} | mended)}
    assert people == set(PEOPLE)
    if "camera_pattern" in mended:
        cameras = {r.labels.camid for r in reader(tmp_path, **mended).records()}
        assert len(cameras) == 2 and None not in cameras


SOUND = {
    "cameras below identities": [f"{p}/cam{c}/{s}.jpg" for p in PEOPLE for c in (1, 2) for s in range(2)],
    "cameras in names": [f"{p}/c{c}_{s}.jpg" for p in PEOPLE for c in (1, 2) for s in range(2)],
    "frames first": [f"{p}/{s:04d}_c{c}.jpg" for p in PEOPLE for c in (1, 2) for s in range(3)],
    "tracklets": [f"{p}/T{n}{p}/{s}.jpg" for n, p in enumerate(PEOPLE) for s in range(2)],
    "dates": [f"{p}/2026010{d}/{s}.jpg" for p in PEOPLE for d in (1, 2) for s in range(2)],
    "modalities below identities": [f"{p}/{m}/{s}.jpg" for p in PEOPLE for m in ("vis", "th") for s in "ab"],
    "prefixes of modalities": [f"{p}/{m}_{s}.jpg" for p in PEOPLE for m in ("VIS", "LWIR") for s in "ab"],
    "roles": [f"{r}/{p}/{r}.jpg" for p in PEOPLE for r in ("query", "gallery")],
    "cars called C1 and C2 by cameras": [
        f"C{n}/cam{c}/{s}.jpg" for n in range(8) for c in (1, 2) for s in "ab"
    ],
    "cars called C1 and C2, by days": [
        f"C{n}/day{d}_{s}.jpg" for n in range(8) for d in (1, 2) for s in "ab"
    ],
    "an identity called camera": [f"{p}/{s}.jpg" for p in (*PEOPLE, "cam1") for s in range(2)],
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_layout_is_not_doubted(name: str, tmp_path: Path) -> None:
    put(tmp_path, *SOUND[name])
    assert doubts(tmp_path) == []


def test_what_a_pattern_says_is_not_doubted_again(tmp_path: Path) -> None:
    put(tmp_path, *[f"cam{c}/{p}_{s}.jpg" for c in (1, 2) for p in PEOPLE for s in range(2)])
    assert doubts(tmp_path, identity_pattern="^([^/]+)/", test_fraction="0") == []


def test_a_split_of_one_identity_is_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        *[f"train/{p}/{s}.jpg" for p in PEOPLE[1:] for s in "ab"],
        "val/anna/a.jpg",
        "val/anna/b.jpg",
    )
    (found,) = doubts(tmp_path)
    assert (found.code, found.level) == ("one-identity-in-split", "warning")
    assert "val has one identity" in found.text and "train 5, val 1" in found.text


def test_splits_that_number_their_identities_alike_are_asked_about(tmp_path: Path) -> None:
    put(tmp_path, *[f"{t}/{n}/{s}.jpg" for t in ("train", "test") for n in range(3) for s in "ab"])
    (found,) = doubts(tmp_path)
    assert (found.code, found.level) == ("same-identities-in-splits", "info")
    assert len(identities(tmp_path, **settings(found))) == 6


@pytest.mark.parametrize(
    ("word", "remedy"), [("MWIR", "modality_names='{mwir: tir}'"), ("lidar", "move them away")]
)
def test_words_of_modalities_that_are_not_known_are_told(word: str, remedy: str, tmp_path: Path) -> None:
    put(tmp_path, *[f"{p}/{m}_{s}.png" for p in PEOPLE for m in ("rgb", word) for s in "ab"])
    (found,) = doubts(tmp_path)
    assert (found.code, found.level, found.count) == ("unknown-modality-word", "warning", 12)
    assert remedy in found.remedy


def test_other_readers_and_sound_manifests_are_not_doubted(tmp_path: Path) -> None:
    from reid.data.readers import market1501

    source = market1501.Reader(market1501.Config(path=save(tmp_path / "market", MARKET)), "market")
    assert layout_doubts(source, source.records()) == []
    assert doubts(Path(healthy(tmp_path / "own").write()), manifest="list.csv") == []


def test_one_picture_is_too_few_to_doubt(tmp_path: Path) -> None:
    put(tmp_path, "anna/a.jpg")
    assert by_code(doubts(tmp_path)) == {}
