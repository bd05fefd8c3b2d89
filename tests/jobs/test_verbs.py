"""What the verbs print and write when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import build, describe, evaluate, index, search, train
from reid.data.shards.shard_set import ShardSet
from reid.nn.parameters import parameter_counts
from reid.runs.run import Run
from tests.support.verbs import Call, Verb


def test_building_again_tells_the_counts_and_that_nothing_was_done(
    call: Call, tiny_run: Run, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("Ray was started for nothing")

    monkeypatch.setattr(build, "start_ray", never)
    tree = json.loads(call(build.build, "--config", str(world / "tiny.yaml"), "--json").out)
    assert (tree["built"], tree["reused"], tree["quarantined"]) == (0, 4, 0)
    assert tree["counts"]["train"]["rows"] == 16
    assert ShardSet.open(tree["shards"]).fingerprint == tree["fingerprint"]


def test_training_again_returns_the_finished_run(call: Call, tiny_run: Run, world: Path) -> None:
    outcome = call(train.train, "--config", str(world / "tiny.yaml"), "train.workers=2")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == tiny_run.uri
    assert "already finished: 1 epochs, 2 steps" in outcome.out


def test_evaluate_prints_a_table_and_where_the_report_lies(call: Call, tiny_run: Run, world: Path) -> None:
    given = ("--config", str(world / "tiny.yaml"), "evaluate.subsets=[rgb, sketch]")
    table = call(evaluate.evaluate, *given)
    assert table.code == 0, table.err
    assert "sketch" in table.out and "mAP" in table.out and "report.html" in table.out
    tree = json.loads(call(evaluate.evaluate, *given, "--json").out)
    assert Path(tree["files"]["report.html"]).is_file()
    assert len(tree["results"]) == 2


def test_index_adds_nothing_twice(call: Call, tiny_run: Run, world: Path) -> None:
    tree = json.loads(call(index.index, "--config", str(world / "tiny.yaml"), "--json").out)
    assert (tree["added"], tree["already"], tree["subsets"]) == (0, 16, ["rgb"])


def test_search_finds_the_picture_itself(call: Call, tiny_run: Run, world: Path, tmp_path: Path) -> None:
    shards = ShardSet.open(str(tiny_run.config.data.shards))
    sample = shards.read_group(shards.groups("test")[0])[0]
    rgb = next(image for modality, image in sample.images.items() if modality.value == "rgb")
    (tmp_path / "query.png").write_bytes(rgb.image)
    given = ("--config", str(world / "tiny.yaml"), "--rgb", str(tmp_path / "query.png"), "--top-k", "3")
    tree = json.loads(call(search.search, *given, "--thumbnails", str(tmp_path / "hits"), "--json").out)
    assert len(tree["hits"]) == 3
    assert tree["hits"][0]["id"] == sample.labels.sample_id
    assert len(list((tmp_path / "hits").glob("*.jpg"))) == 3
    table = call(search.search, *given)
    assert table.out.splitlines()[0].startswith("rgb against rgb")
    assert sample.labels.sample_id in table.out.splitlines()[1]


def test_describe_counts_what_would_be_built(call: Call, tiny_run: Run, world: Path) -> None:
    given = ("--config", str(world / "tiny.yaml"))
    tree = json.loads(call(describe.describe, *given, "--json").out)
    counts = tree["parameters"]
    assert counts == parameter_counts(tiny_run.model)
    assert counts["total"] == sum(counts["by_module"].values())
    assert counts["total"] - counts["trainable"] == 16  # the neck's shift stays zero
    assert (tree["classes"], tree["cameras"], tree["dim"], tree["regime"]) == (4, 2, 16, "any_to_any")
    assert tree["query_modalities"] == ["rgb", "nir", "tir", "sketch", "text"]
    assert tree["gmac_per_sample"] > 0
    assert tree["config"]["name"] == "tiny"
    more = json.loads(call(describe.describe, *given, "--classes", "14", "--json").out)
    assert more["parameters"]["total"] - counts["total"] == 10 * 16


@pytest.mark.parametrize("verb", [evaluate.evaluate, index.index])
def test_a_dry_run_says_when_the_run_is_not_trained_yet(
    call: Call, tiny_run: Run, world: Path, verb: Verb
) -> None:
    given = ("--config", str(world / "tiny.yaml"), "--dry-run")
    assert "not trained yet" not in call(verb, *given).out
    other = call(verb, *given, "train.epochs=77")
    assert other.code == 0 and "not trained yet: " in other.out
