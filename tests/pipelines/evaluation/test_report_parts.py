"""What the pipelines put into a report: ranked lists by thirds, distributions, a projection, routing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.evaluation.evaluate import evaluate_run
from pipelines.evaluation.ranked_lists import thirds
from reid.data.shards.shard_set import ShardSet
from reid.runs.run import Run
from tests.support.tiny_configs import config_of, silent, trained

TOWER = "{arch: null, patch: 8, width: 32, layers: 2, heads: 2, dim: 16}"
MFRNET = (
    f"model={{name: mfrnet, tower: {TOWER}, ffm: {{hidden: 8}}, frm: {{hidden: 8}}}}",
    "data.modalities=rgb+nir+tir",
    "evaluate.gallery=null",
    "evaluate.histogram=false",
)


def test_queries_are_dealt_in_thirds() -> None:
    assert thirds(12) == {"best": 4, "worst": 4, "random": 4}
    assert [sum(thirds(n).values()) for n in range(8)] == list(range(8))
    assert thirds(1) == {"best": 0, "worst": 0, "random": 1}
    assert thirds(2) == {"best": 1, "worst": 0, "random": 1}


def test_best_and_worst_are_the_ends_of_the_average_precision(any_run: Run, workdir: Path) -> None:
    settings = config_of(workdir, "evaluate.subsets=[nir]", "evaluate.queries_shown=6")
    found = evaluate_run(settings, any_run, silent).evaluation
    assert [one.kind for one in found.ranked] == ["best"] * 2 + ["worst"] * 2 + ["random"] * 2
    ap = sorted(found.results[0].metrics.ap[found.results[0].metrics.valid].tolist())
    shown = [one.ap for one in found.ranked]
    assert shown[:2] == [ap[-1], ap[-2]]
    assert shown[2:4] == [ap[0], ap[1]]
    assert len({one.query_id for one in found.ranked}) == 6  # none comes twice
    again = evaluate_run(settings, any_run, silent).evaluation
    assert [one.query_id for one in again.ranked] == [one.query_id for one in found.ranked]


def test_every_counted_pair_is_in_the_histogram_and_every_vector_in_the_projection(
    any_run: Run, workdir: Path
) -> None:
    result = evaluate_run(config_of(workdir, "evaluate.subsets=[rgb, nir]"), any_run, silent)
    report = json.loads(Path(result.files["report.json"]).read_text())
    for row, one, counted in zip(
        result.evaluation.results, report["similarities"], report["results"], strict=True
    ):
        assert one["label"] == row.label
        assert sum(one["positives"]) == int(row.metrics.positives.sum())
        assert sum(one["positives"]) + sum(one["negatives"]) == int(row.metrics.candidates.sum())
        assert counted["gallery_size"] == 16
    projection = result.evaluation.projection
    assert projection is not None
    assert (len(projection.points), projection.of) == (32, 32)
    assert result.evaluation.routing == ()  # no experts


def test_a_model_with_experts_shows_where_patches_go(shards: ShardSet, tmp_path: Path, workdir: Path) -> None:
    run = trained(tmp_path, *MFRNET, f"data.shards={shards.root}")
    settings = config_of(tmp_path, *MFRNET, f"data.shards={shards.root}", "data.name=rgbnt201")
    result = evaluate_run(settings, run, silent)
    maps = result.evaluation.routing
    assert {m.mixture for m in maps} == {"ffm0", "ffm1", "frm1"}
    assert {len(m.experts) for m in maps} == {16}
    assert len({(m.pid, m.picture) for m in maps}) <= 6
    html = Path(result.files["report.html"]).read_text()
    assert "Which expert each patch goes to" in html
    assert "published, not measured here" in html  # of this system on a data set of this name


@pytest.mark.parametrize("shown", [0])
def test_no_pictures_are_shown_where_none_are_asked_for(any_run: Run, workdir: Path, shown: int) -> None:
    settings = config_of(workdir, "evaluate.subsets=[nir]", f"evaluate.queries_shown={shown}")
    found = evaluate_run(settings, any_run, silent).evaluation
    assert (found.ranked, found.routing) == ((), ())
