"""Which reader is recognised, and what is told where none fits."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from reid.config import plugin_names
from reid.data.readers import msvr310
from reid.doctor.data.examination import Report, examine
from reid.doctor.data.layout import READERS, Match, expected_names, recognise
from reid.doctor.data.recipes import preset_of
from reid.doctor.finding import Finding
from reid.errors import UsageError
from tests.support.public_layouts.paths import MARKET, MSVR310, RGBNT100, RGBNT201, save
from tests.support.sets.healthy import by_code, healthy


def recognised(path: str) -> Match:
    found = recognise(path)
    assert isinstance(found, Match), found
    return found


def finding_of(report: Report, code: str) -> Finding:
    return next(f for f in report.findings if f.code == code)


def refused(path: str, reader: str | None = None) -> Finding:
    found = recognise(path, reader)
    assert isinstance(found, list)
    (finding,) = found
    return finding


@pytest.mark.parametrize(
    ("reader", "files", "width"),
    [("rgbnt201", RGBNT201, 24), ("msvr310", MSVR310, 24), ("rgbnt100", RGBNT100, 72)],
)
def test_a_published_layout_is_recognised_before_the_general_one(
    reader: str, files: list[str], width: int, tmp_path: Path
) -> None:
    match = recognised(save(tmp_path, files, width))
    assert match.name == reader
    assert match.recipe.preset == f"baseline/{reader}" == preset_of(reader)
    assert match.recipe.command("build").endswith(f"data.reader.path={tmp_path}")


def test_two_sets_of_equal_folders_are_told_apart_by_their_names(tmp_path: Path) -> None:
    assert recognised(save(tmp_path / "market", MARKET)).name == "market1501"
    inner = [file.removeprefix("rgbir/") for file in RGBNT100]
    assert recognised(save(tmp_path / "strips", inner, width=72)).name == "rgbnt100"


def test_names_that_fit_by_chance_do_not_make_a_match(tmp_path: Path) -> None:
    """Names as in RGBNT100, but the pictures are no strips of three."""
    inner = [file.removeprefix("rgbir/") for file in RGBNT100]
    found = recognise(save(tmp_path, inner, width=25))
    assert not isinstance(found, Match) or found.name != "rgbnt100"


def test_a_reader_that_is_sure_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = save(tmp_path, [*RGBNT201, *MSVR310])
    assert recognised(both).name in {"rgbnt201", "msvr310"}
    monkeypatch.setattr(msvr310.Reader, "recognises", lambda self: True)
    assert recognised(both).name == "msvr310"
    monkeypatch.setattr(msvr310.Reader, "recognises", lambda self: False)
    assert recognised(both).name == "rgbnt201"


def test_folders_of_identities_are_the_last_resort(tmp_path: Path) -> None:
    match = recognised(save(tmp_path, ["train/1/a.png", "train/1/a_nir.png", "test/2/b.png"]))
    assert (match.name, match.recipe.preset) == ("folder", "baseline/demo")
    assert "data.modalities=rgb+nir" in match.recipe.overrides


def test_a_manifest_is_found_by_its_header(tmp_path: Path) -> None:
    root = healthy(tmp_path).write()
    (tmp_path / "aaa.csv").write_text("name,price\nx,1\n")
    match = recognised(root)
    assert "data.reader.manifest=list.csv" in match.recipe.overrides
    assert len(match.records) == 12
    named = recognise(root, given=["data.reader.manifest=aaa.csv"])
    assert not isinstance(named, Match), "what the user names is not replaced by a guess"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file;pid\r\n{};7\r\n", "utf-8-sig"),
        ("File\tPID\n{}\t7\n", "utf-16"),
        ("file,pid\n{},7\n", "latin-1"),
    ],
)
def test_a_manifest_is_found_however_a_spreadsheet_saves_it(tmp_path: Path, text: str, encoding: str) -> None:
    save(tmp_path, ["x/é.png"])
    (tmp_path / "list.csv").write_bytes(text.format("x/é.png").encode(encoding))
    match = recognised(str(tmp_path))
    assert "data.reader.manifest=list.csv" in match.recipe.overrides
    assert [(r.labels.pid, r.problem) for r in match.records] == [(7, None)]


def test_a_manifest_of_other_columns_is_found_when_they_are_told(tmp_path: Path) -> None:
    save(tmp_path, ["x/1.png"])
    (tmp_path / "list.txt").write_text("image|who\nx/1.png|7\n")
    found = recognise(str(tmp_path), given=["data.reader.columns={file: image, pid: who}"])
    assert isinstance(found, Match)
    assert "data.reader.manifest=list.txt" in found.recipe.overrides


def test_a_manifest_that_cannot_be_read_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path, ["7/1.png", "7/2.png", "8/1.png", "8/2.png"])
    (tmp_path / "list.csv").write_text("file,pid,pid\n7/1.png,7,9\n")
    report = examine(str(tmp_path))
    finding = finding_of(report, "refused-list")
    assert finding.level == "error" and not report.ok
    assert "list.csv line 1: the column 'pid' is named twice" in (finding.example or "")
    (tmp_path / "list.csv").write_text("file,pid\n7/1.png,7\n7/2.png,007\n")
    assert "'007' and '7' both read as number 7" in str(examine(str(tmp_path)).findings[0].example)


def test_several_manifests_are_told(tmp_path: Path) -> None:
    save(tmp_path, ["7/1.png", "8/1.png"])
    for name in ("all.csv", "some.tsv"):
        (tmp_path / name).write_text("file,pid\n7/1.png,7\n8/1.png,8\n")
    finding = finding_of(examine(str(tmp_path)), "several-lists")
    assert "2 lists" in finding.text and "only all.csv is read" in finding.text
    assert finding.example == "some.tsv"


def test_doubtful_labels_are_told_as_what_they_are(tmp_path: Path) -> None:
    finding = refused(save(tmp_path, ["Zoe/1.png", "zoe/2.png", "Bob/1.png"]))
    assert (finding.code, finding.level) == ("refused-data", "error")
    assert "'Zoe' and 'zoe' differ in letter case only" in finding.text
    assert "rename one" in finding.remedy


def test_a_layout_that_is_not_whole_is_explained_not_read_as_own_folders(tmp_path: Path) -> None:
    whole = [f for f in MSVR310 if not f.startswith("query3")]
    finding = refused(save(tmp_path, whole))
    assert (finding.code, finding.level) == ("broken-layout", "error")
    assert "msvr310" in finding.text and "query3 is missing" in (finding.example or "")
    assert "--reader folder" in finding.remedy


def test_a_set_one_level_down_is_pointed_at(tmp_path: Path) -> None:
    save(tmp_path / "unpacked", RGBNT201)
    finding = refused(str(tmp_path))
    assert finding.code == "one-level-down"
    assert f"jobs.doctor data {tmp_path / 'unpacked'}" in finding.remedy


def test_a_folder_without_any_known_layout_is_told_what_would_fit(tmp_path: Path) -> None:
    finding = refused(save(tmp_path, ["a.jpg", "b.jpg"]))
    assert finding.code == "unknown-layout"
    assert "<path>/<identity>/<files>" in (finding.example or "")
    report = examine(str(tmp_path))
    assert by_code(report.findings) == {"unknown-layout": 1}
    assert (report.ok, report.next, report.layout) == (False, None, None)


def test_a_named_reader_says_what_it_misses(tmp_path: Path) -> None:
    finding = refused(save(tmp_path, ["1/a.png", "2/b.png"]), "rgbnt201")
    assert finding.code == "broken-layout"
    assert "train_171" in (finding.example or "")


@pytest.mark.parametrize("reader", ["rgbnt21", "synthetic"])
def test_an_unknown_reader_and_one_without_a_folder_are_wrong_usage(reader: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--reader"):
        recognise(str(tmp_path), reader)


def test_the_names_that_a_layout_expects_are_read_from_its_text() -> None:
    lines = ("{vis,nir}/<id>/*.jpg", "cam{1,2}/*.jpg", "list.txt, lines", "*.jpg")
    text = "Expected\n" + "\n".join(f"  <path>/{line}" for line in lines)
    module = SimpleNamespace(LAYOUT=text)
    assert expected_names(module) == {"vis", "nir", "cam1", "cam2", "list.txt"}  # type: ignore[arg-type]
    assert expected_names(SimpleNamespace(LAYOUT=SimpleNamespace(tree=text))) == expected_names(module)  # type: ignore[arg-type]


def test_every_reader_of_a_folder_can_be_asked(tmp_path: Path) -> None:
    """An empty folder fits none, and none breaks on it."""
    finding = refused(str(tmp_path))
    for name in plugin_names(READERS):
        fields = importlib.import_module(f"{READERS}.{name}").Config.model_fields
        assert (name in finding.text) == ("path" in fields)


def test_a_picture_of_another_kind_is_set_aside_not_the_whole_layout(tmp_path: Path) -> None:
    save(tmp_path, RGBNT201)
    Image.new("L", (1, 1)).save(tmp_path / "train_171/RGB/oops.jpg")
    report = examine(str(tmp_path))
    assert report.layout == "rgbnt201"
    assert by_code(report.findings)["unusable-row"] == 1


def test_pictures_in_one_folder_whose_names_tell_are_told_with_the_pattern_that_reads_them(
    tmp_path: Path,
) -> None:
    root = save(tmp_path, [f"{pid}_c{camera}_{n}.jpg" for pid in "ab" for camera in (1, 2) for n in (1, 2)])
    finding = refused(root)
    given = re.findall(r"(data\.reader\.\w+=)'([^']+)'", finding.remedy)
    assert finding.code == "unknown-layout" and len(given) == 2
    match = recognise(root, given=["".join(one) for one in given])
    assert isinstance(match, Match)
    assert {(r.labels.extra["identity"], r.labels.camid) for r in match.records} == {
        (pid, camera) for pid in "ab" for camera in (1, 2)
    }


def test_a_folder_of_a_system_beside_the_data_set_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path, [*RGBNT201, *(f"@eaDir/{file}" for file in RGBNT201), "lost+found/1/a.jpg"])
    assert recognised(str(tmp_path)).name == "rgbnt201"


def test_links_that_loop_do_not_keep_the_layout_from_being_recognised(tmp_path: Path) -> None:
    save(tmp_path, ["train/1/a.png", "train/2/a.png", "test/3/b.png"])
    (tmp_path / "train/1/up").symlink_to(tmp_path)
    match = recognised(str(tmp_path))
    assert (match.name, len(match.records)) == ("folder", 3)
