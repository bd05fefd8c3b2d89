"""Labels of own folders and lists: words for nothing, spellings, doubtful pairs, spreadsheets."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from reid.data.readers.base import Record
from reid.data.readers.folder import Config, Reader
from reid.errors import DataError


def pictures(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 6), (100, 100, 100)).save(root / file)


def listed(root: Path, text: str, encoding: str = "utf-8") -> None:
    (root / "list.csv").write_bytes(text.encode(encoding))


def read(root: Path, **fields: Any) -> tuple[list[Record], list[str]]:
    reader = Reader(Config(path=str(root), **fields), "own")
    return list(reader.records()), reader.notes


# Words for nothing


@pytest.mark.parametrize("word", ["nan", "None", "N/A", "-", "<NA>", "#N/A", "unknown", ""])
def test_a_row_of_nobody_is_set_aside_and_a_camera_of_nothing_is_unknown(tmp_path: Path, word: str) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    listed(
        tmp_path,
        f"file,pid,camid,caption,place\na.png,{word},1,a,x\nb.png,8,{word},{word},{word}\nc.png,9,2,b,y\n",
    )
    (nobody, unseen, whole), notes = read(tmp_path, manifest="list.csv")
    assert nobody.labels.pid == -1
    assert (nobody.problem or "").startswith("list.csv line 2 has no identity")
    place = {"place": "unknown"} if word == "unknown" else {}
    assert (unseen.labels.camid, unseen.captions, unseen.labels.extra) == (None, (), place)
    assert (whole.labels.pid, whole.labels.camid, whole.captions) == (9, 2, ("b",))
    assert len(notes) == (0 if not word else 3 if word == "unknown" else 4)
    assert all(f"{word!r} (1) is read as empty" in note for note in notes)


@pytest.mark.parametrize("column", ["split", "role", "modality", "capture"])
def test_other_columns_take_words_for_nothing_as_empty_cells(tmp_path: Path, column: str) -> None:
    pictures(tmp_path, "a.png", "b.png")
    filled = {"split": "test", "role": "query", "modality": "rgb", "capture": "k"}[column]
    listed(tmp_path, f"file,pid,{column}\na.png,1,null\nb.png,2,{filled}\n")
    (first, second), _ = read(tmp_path, manifest="list.csv")
    told = first.problem or ""
    assert "neither a split nor a role" in told if column in ("split", "role") else not told
    assert second.problem is None


@pytest.mark.parametrize("name", ["nan", "None", "unknown", "NA"])
def test_a_folder_of_nobody_is_set_aside_picture_by_picture(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, f"{name}/1.png", f"{name}/2.png", "7/1.png", "8/1.png")
    records, _ = read(tmp_path)
    bad = [r for r in records if r.problem]
    assert [r.labels.pid for r in records if not r.problem] == [7, 8]
    assert len(bad) == 2 and all(r.labels.pid == -1 for r in bad)
    assert f"its identity '{name}' stands for nobody; rename it if it is one" in (bad[0].problem or "")


def test_texts_that_say_nothing_are_no_captions(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    texts = {"a": {"text": None}, "b": ["nan", "a red hat", "Unknown"], "c": "N/A", "zoe": "x"}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    records, notes = read(tmp_path, texts="texts.json")
    assert [r.captions for r in records] == [(), ("a red hat",), ()]
    words, strangers = notes
    assert "'nan' (1), 'Unknown' (1), 'N/A' (1) are read as empty" in words
    assert "1 of 4 keys is no identity here (first: 'zoe')" in strangers


# Spellings


def test_spellings_that_only_a_tool_changed_are_one_identity_and_told(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "Zoë")
    pictures(tmp_path, "Zoë/1.png", f"{nfd}/2.png", "bus 7/1.png", "bus 7 /2.png")
    records, notes = read(tmp_path)
    assert [r.problem for r in records] == [None] * 4
    assert len({r.labels.pid for r in records}) == 2
    assert {r.labels.extra["identity"] for r in records} == {"Zoë", "bus 7"}
    assert sorted("'bus 7 '" in note or "'Zoe\\u0308'" in note for note in notes) == [True, True]


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Zoe", "zoe", "letter case"),
        ("car 12", "car12", "spaces or spelling"),
        ("12", "0012", "number 12"),
        ("12", "12.0", "number 12"),
    ],
)
def test_doubtful_identities_are_refused_in_folders_and_lists(
    tmp_path: Path, one: str, other: str, how: str
) -> None:
    pictures(tmp_path, f"{one}/1.png", f"{other}/2.png", "x/1.png")
    with pytest.raises(DataError, match=f"identities .*{how}") as caught:
        read(tmp_path)
    assert repr(one) in str(caught.value) and repr(other) in str(caught.value)
    listed(tmp_path, f"file,pid\n{one}/1.png,{one}\n{other}/2.png,{other}\n")
    with pytest.raises(DataError, match=f"list.csv: the identities .*{how}"):
        read(tmp_path, manifest="list.csv")


def test_doubtful_cameras_are_refused_in_lists_and_names(tmp_path: Path) -> None:
    pictures(tmp_path, "1/North_1.png", "1/north_2.png")
    with pytest.raises(DataError, match=r"cameras 'North' and 'north' differ in letter case"):
        read(tmp_path, camera_pattern=r"/(\w+)_")
    listed(tmp_path, "file,pid,camid\n1/North_1.png,1,02\n1/north_2.png,1,2\n")
    with pytest.raises(DataError, match=r"cameras '02' and '2' both read as number 2"):
        read(tmp_path, manifest="list.csv")


def test_numbers_of_a_column_with_gaps_stay_numbers(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    listed(tmp_path, "file,pid,camid\na.png,4.0,1.0\nb.png,5.0,2.0\nc.png,5.0,\n")
    records, _ = read(tmp_path, manifest="list.csv")
    assert [(r.labels.pid, r.labels.camid) for r in records] == [(4, 1), (5, 2), (5, None)]
    assert all(r.labels.extra == {} for r in records)


def test_full_width_digits_are_digits(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    listed(tmp_path, "file,pid\na.png,\uff11\uff12\nb.png,12\n")
    records, (note,) = read(tmp_path, manifest="list.csv")
    assert [r.labels.pid for r in records] == [12, 12]
    assert "are read as one" in note


def test_texts_whose_key_is_an_identity_but_for_the_spelling_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "Zoe/1.png", "0007/1.png")
    for key, identity in (("zoe", "Zoe"), ("7", "0007")):
        (tmp_path / "texts.json").write_text(json.dumps({"Zoe": "a hat", "0007": "a bag"} | {key: "x"}))
        with pytest.raises(DataError, match=f"the key and the identity '{key}' and '{identity}'"):
            read(tmp_path, texts="texts.json")


def test_captions_of_a_path_in_another_spelling_are_found_and_told(tmp_path: Path) -> None:
    pictures(tmp_path, "imgs/1/É.png", "imgs/2/b.png")
    said = {"imgs\\1\\É.png": "a hat", "imgs/2/B.PNG": "a bag"}
    said = {unicodedata.normalize("NFD", key): text for key, text in said.items()}
    (tmp_path / "captions.json").write_text(json.dumps(said))
    records, (note,) = read(tmp_path)
    assert [r.captions for r in records] == [("a hat",), ("a bag",)]
    assert "1 keys differ in letter case" in note


# Lists


def test_one_file_in_two_spellings_is_one_sample(tmp_path: Path) -> None:
    pictures(tmp_path, "x/A.PNG")
    listed(tmp_path, "file,pid,caption\nx/A.PNG,1,a hat\nX\\a.png,1,a bag\n")
    (record,), _ = read(tmp_path, manifest="list.csv")
    assert (record.labels.sample_id, record.captions) == ("x/A.PNG", ("a hat", "a bag"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_list_from_a_spreadsheet_is_read_and_told(tmp_path: Path, encoding: str, delimiter: str) -> None:
    pictures(tmp_path, "Straße/é.png", "b.png")
    rows = ["File;PID;Caption", "Straße\\é.png;1;a hat, red", 'b.png;2;"a ""big"" bag"']
    listed(tmp_path, "\r\n".join(rows).replace(";", delimiter), encoding)
    (first, second), notes = read(tmp_path, manifest="list.csv")
    assert (first.problem, first.captions) == (None, ("a hat, red",))
    assert second.captions == ('a "big" bag',)
    assert any("between its columns" in note for note in notes) and any(
        "backslashes" in note for note in notes
    )


def test_delimiter_and_encoding_can_be_set(tmp_path: Path) -> None:
    pictures(tmp_path, "红.png")
    listed(tmp_path, "file!pid!caption\n红.png!1!红色\n", "gb18030")
    (record,), notes = read(tmp_path, manifest="list.csv", delimiter="!", encoding="gb18030")
    assert (record.problem, record.captions, notes) == (None, ("红色",), [])
    assert Config(path="x", delimiter="tab").delimiter == "\t"
    for field, value in (("delimiter", ";;"), ("delimiter", '"'), ("encoding", "utf-9")):
        with pytest.raises(ValidationError, match=field):
            Config(path="x", **{field: value})


def test_numbers_that_a_spreadsheet_shortened_and_cameras_below_zero_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    listed(tmp_path, "file,pid,camid\na.png,1.23E+11,-1\nb.png,7,2\n")
    notes = read(tmp_path, manifest="list.csv")[1]
    assert any("'1.23E+11' looks like a number that a spreadsheet shortened" in note for note in notes)
    assert any("camera '-1' is read as a camera" in note for note in notes)


def test_an_identity_of_thousands_of_digits_is_a_name(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    listed(tmp_path, f"file,pid\na.png,{'9' * 5000}\nb.png,7\n")
    assert [record.labels.pid for record in read(tmp_path, manifest="list.csv")[0]] == [1, 0]


def test_a_number_with_a_decimal_comma_is_the_number(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    listed(tmp_path, "file;pid\na.png;7,0\nb.png;8,0\n")
    assert [record.labels.pid for record in read(tmp_path, manifest="list.csv")[0]] == [7, 8]
    listed(tmp_path, "file;pid\na.png;7,0\nb.png;7\n")
    with pytest.raises(DataError, match="'7' and '7,0' both read as number 7"):
        read(tmp_path, manifest="list.csv")


def test_an_invisible_character_after_a_split_changes_nothing(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    listed(tmp_path, "file,pid,split\na.png,7,Training\u200b\nb.png,8,Testing\u00a0\n")
    records = read(tmp_path, manifest="list.csv")[0]
    assert [(r.labels.split, r.problem) for r in records] == [("train", None), ("test", None)]


def test_a_role_in_the_training_split_is_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    listed(tmp_path, "file,pid,split,role\na.png,1,train,\nb.png,2,train,query\nc.png,3,test,query\n")
    _, (note,) = read(tmp_path, manifest="list.csv")
    assert note.startswith("list.csv: 1 rows of train have a role (first: line 3)")
