"""`build preview`, `stats`, `export` and `import`: what they write and print, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.build_export import main_export
from jobs.build_import import main_import
from jobs.build_preview import main_preview
from jobs.build_stats import main_stats
from reid.data.shards.shard_set import ShardSet
from reid.modality import Modality
from tests.support.sets.shards import make_identities, make_shards
from tests.support.verbs import Call, Verb

BOTH = (Modality.RGB, Modality.TEXT)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    train, test = make_identities([3, 2], BOTH), make_identities([2, 2], BOTH, split="test")
    for sample in test:
        object.__setattr__(sample.labels, "sample_id", f"t{sample.labels.sample_id}")
    make_shards(tmp_path / "set", [train, test])
    return tmp_path / "set"


def test_preview_writes_a_page_into_the_set_or_where_it_is_told(
    call: Call, made: Path, tmp_path: Path
) -> None:
    done = call(main_preview, str(made), "--samples", "4")
    assert done.code == 0, done.err
    assert f"{made}/preview.html: 4 of 9 rows" in done.out
    assert "Shown" in (made / "preview.html").read_text()
    page = tmp_path / "x" / "look.html"
    done = call(main_preview, str(made), "--split", "test", "--by-identity", "--out", str(page), "--json")
    told = json.loads(done.out)
    assert (told["page"], told["shown"]) == (str(page), 4)
    assert "<h2>Identity" in page.read_text()


def test_stats_prints_the_numbers_and_writes_page_and_json(call: Call, made: Path, tmp_path: Path) -> None:
    done = call(main_stats, str(made), "--out", str(tmp_path / "out"))
    assert done.code == 0, done.err
    assert "train: 5 rows of 2 identities (2–3, mean 2.5, each)" in done.out
    assert "stats: 9/9 rows" in done.err
    told = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert told["splits"]["test"]["rows"] == 4
    assert "Rows an identity" in (tmp_path / "out" / "stats.html").read_text()
    assert json.loads(call(main_stats, str(made), "--json").out)["set"]["rows"] == 9


def test_a_set_can_be_named_by_its_configuration(call: Call, made: Path) -> None:
    done = call(main_stats, "--preset", "baseline/synthetic", f"data.shards={made}")
    assert done.code == 0 and str(made) in done.out


def test_export_says_how_to_come_back(call: Call, made: Path, tmp_path: Path) -> None:
    done = call(main_export, str(made), "--to", str(tmp_path / "tree"))
    assert done.code == 0, done.err
    assert "9 rows (train, test), 9 new" in done.out
    assert f"python -m jobs.build import {tmp_path / 'tree'}" in done.out
    assert "export: 9/9 rows" in done.err
    again = json.loads(call(main_export, str(made), "--to", str(tmp_path / "tree"), "--json").out)
    assert (again["rows"], again["copied"]) == (9, 0)


def test_import_builds_what_was_exported(call: Call, made: Path, tmp_path: Path, ray_session: None) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    call(main_export, str(made), "--to", str(tree))
    dry = call(main_import, str(tree), "--dry-run", "--json")
    config = json.loads(dry.out)["config"]
    assert config["data"]["name"] == "made"
    assert config["data"]["modalities"] == ["rgb", "text"]
    assert config["build"]["generate"] == {}
    done = call(main_import, str(tree), f"data.shards={back}", f"workdir={tmp_path}")
    assert done.code == 0, done.err
    first, second = ShardSet.open(str(made)), ShardSet.open(str(back))
    for split in ("train", "test"):
        assert second.labels(split) == first.labels(split)


def test_import_takes_a_configuration_and_trees_without_a_manifest(call: Call, tmp_path: Path) -> None:
    from tests.support.sets.shards import flat_picture

    for file in ("imgs/1/a.png", "imgs/2/a.png", "imgs-sketch/1/a.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(flat_picture((1, 2, 3)))
    config = json.loads(call(main_import, str(tmp_path), "--dry-run", "--json").out)["config"]
    assert config["data"]["reader"]["name"] == "folder"
    assert config["data"]["modalities"] == ["rgb", "sketch"]
    given = ("--preset", "baseline/grocery", "data.reader.test_fraction=0", "--dry-run", "--json")
    config = json.loads(call(main_import, str(tmp_path), *given).out)["config"]
    assert (config["data"]["reader"]["path"], config["data"]["name"]) == (str(tmp_path), "grocery")
    assert config["build"]["generate"], "as the preset says"


@pytest.mark.parametrize(
    ("verb", "arguments", "code", "message"),
    [
        (main_preview, (), 2, "Give one shard set's folder"),
        (main_preview, ("{set}", "--split", "tset"), 2, "Did you mean 'test'?"),
        (main_preview, ("{set}", "--split", "val"), 1, "no row in split 'val'"),
        (main_preview, ("/none",), 1, "no shard set here"),
        (main_stats, ("a", "b"), 2, "Give one shard set's folder"),
        (main_export, ("{set}",), 2, "give --to FOLDER"),
        (main_export, ("{set}", "--to", "{set}"), 1, "is not empty and holds no export"),
        (main_import, ("data.name=x",), 2, "give the folder first"),
        (main_import, ("/none",), 1, "no such folder: /none"),
        (main_import, ("{set}",), 1, "Expected one of"),
    ],
)
def test_mistakes_are_told(
    call: Call, made: Path, verb: Verb, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = call(verb, *(a.format(set=made) for a in arguments))
    assert done.code == code, done
    assert done.err.startswith("error: ") and message in done.err
    assert "Traceback" not in done.err
