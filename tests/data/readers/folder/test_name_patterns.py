"""Patterns that names of pictures seem to tell."""

from __future__ import annotations

import re

import pytest

from reid.data.readers.folder.name_patterns import names_of_pictures


def shots(form: str) -> list[str]:
    """Two cameras and two shots of three identities."""
    return [
        form.format(pid=pid, camera=camera, shot=shot)
        for pid in ("0007", "0012", "0100")
        for camera in (1, 2)
        for shot in range(2)
    ]


@pytest.mark.parametrize(
    ("form", "camera"),
    [
        ("{pid}_{shot}.jpg", None),
        ("all/{pid}_c{camera}_{shot}.jpg", "_c([0-9]+)"),
        ("{pid}_c{camera}s1_{shot}_01.jpg", "_c([0-9]+)"),
        ("{pid}-cam{camera}-{shot}.jpg", "-cam([0-9]+)"),
        ("cam{camera}/{pid}_{shot}.jpg", None),
        ("VIS_{pid}_{camera}.jpg", None),
        ("my_set/{pid}_{shot}.jpg", None),
    ],
)
def test_the_identity_is_the_first_word_but_for_a_modality(form: str, camera: str | None) -> None:
    files = shots(form)
    found = names_of_pictures(files)
    assert found is not None and found.camera == camera
    identities = {match[1] for file in files if (match := re.search(found.identity, file))}
    assert identities == {"0007", "0012", "0100"}
    assert all(re.search(found.camera, file) for file in files if found.camera)


@pytest.mark.parametrize(
    "files",
    [
        [],
        ["a.jpg", "b.jpg"],
        [f"IMG_{n:04d}.jpg" for n in range(8)],
        [f"{n:04d}_rgb.jpg" for n in range(8)],
        [f"cam{c}_{n}.jpg" for c in (1, 2) for n in range(4)],
        [f"{word}_{n}.jpg" for word in ("rgb", "nir") for n in range(4)],
        ["0001_a.jpg", "0001_b.jpg", "0002_a.jpg", "0002_b.jpg", "cover.jpg"],
    ],
)
def test_names_that_tell_no_identity_give_no_pattern(files: list[str]) -> None:
    assert names_of_pictures(files) is None
