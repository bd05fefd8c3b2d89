"""Usual names of modalities in folders and files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from reid.modality import FILE_WORDS, Modality
from tests.support.sets.folder_trees import put, read

RGB, NIR, TIR = Modality.RGB, Modality.NIR, Modality.TIR


@pytest.mark.parametrize(
    ("files", "modalities"),
    [
        (("VIS_0001.png", "LWIR_0001.png"), [RGB, TIR]),
        (("vis/0001.png", "ni/0001.png", "th/0001.png"), [RGB, NIR, TIR]),
        (("0001.png", "0001_thermal.png"), [RGB, TIR]),
        (("0001-visible.png", "0001-infrared.png"), [RGB, NIR]),
        (("0001.Colour.png", "0001.FIR.png"), [RGB, TIR]),
        (("0001/ir.png", "0001/rgb.png"), [RGB, NIR]),
    ],
)
def test_files_that_are_alike_but_for_such_a_word_are_one_capture(
    files: tuple[str, ...], modalities: list[Modality], tmp_path: Path
) -> None:
    put(tmp_path, *[f"7/{file}" for file in files])
    (record,) = read(tmp_path)[0].values()
    assert (record.labels.sample_id, [*record.images]) == ("7/0001", modalities)


def test_what_a_word_was_read_as_is_told_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    put(tmp_path, "7/VIS_1.png", "7/LWIR_1.png", "8/VIS_1.png", "8/nir_1.png")
    (note,) = read(tmp_path)[1]
    assert "lwir as tir (1 pictures), vis as rgb (2 pictures)" in note
    assert "data.reader.modality_names='{lwir: tir}'" in note
    told = read(tmp_path, modality_names={"VIS": "rgb", "LWIR": "tir"})[1]
    assert told == [], "what the configuration says needs no telling"


def test_infrared_is_of_the_kind_that_the_configuration_says(tmp_path: Path) -> None:
    put(tmp_path, "7/1.png", "7/1_ir.png")
    (record,) = read(tmp_path, infrared="tir")[0].values()
    assert [*record.images] == [RGB, TIR]


@pytest.mark.parametrize("file", ["4-th.jpg", "ir_5.jpg", "7.ni.jpg"])
def test_a_short_word_alone_is_not_believed(file: str, tmp_path: Path) -> None:
    put(tmp_path, *[f"{pid}/{shot}.jpg" for pid in (1, 2) for shot in "abc"], f"1/{file}")
    records, notes = read(tmp_path)
    assert ({m for r in records.values() for m in r.images}, notes) == ({RGB}, [])
    assert f"1/{file.removesuffix('.jpg')}" in records


def test_two_words_for_one_modality_of_a_capture_are_told(tmp_path: Path) -> None:
    put(tmp_path, "7/RGB_1.png", "7/VIS_1.png", "7/NIR_1.png")
    records, notes = read(tmp_path)
    assert {name: [*r.images] for name, r in records.items()} == {"7/1": [RGB, NIR], "7/VIS_1.png": [RGB]}
    assert "by the words rgb and vis: 1" in notes[1] and "modality_names='{vis: rgb}'" in notes[1]


def test_every_word_names_a_visual_modality() -> None:
    assert {m.is_visual for m in FILE_WORDS.values()} == {True}
    assert not FILE_WORDS.keys() & {m.value for m in Modality}


def test_the_tno_scenes_need_no_configuration(data_root: Path) -> None:
    records, notes = read(data_root / "tno")
    scenes = [r for name, r in records.items() if name.endswith("/000")]
    assert {tuple(r.images) for r in scenes} == {(RGB, NIR, TIR)}
    assert len(scenes) == 8
    assert "lwir as tir (8 pictures), vis as rgb (8 pictures)" in notes[0]


def test_a_word_is_known_in_every_unicode_form(tmp_path: Path) -> None:
    put(tmp_path, "7/1.png", f"7/{unicodedata.normalize('NFD', 'Wärme')}/1.png", "8/1.png", "8/1_WÄRME.png")
    records = read(tmp_path, modality_names={"wärme": "tir"})[0]
    assert [[*record.images] for record in records.values()] == [[RGB, TIR], [RGB, TIR]]
