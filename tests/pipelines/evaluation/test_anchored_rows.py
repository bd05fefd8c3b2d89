"""Evaluations whose queries hang on an anchor: measured, averaged, and repeated from the list they wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pipelines.embed
from pipelines.embed import features_of
from pipelines.evaluation.evaluate import evaluate_run, report_lines
from reid.config import Config
from reid.errors import ConfigError, DataError
from reid.evaluate.evaluator import select_items, stack_features
from reid.evaluate.plan import plan_evaluation
from reid.evaluate.protocols.items import parts_key
from reid.modality import Modality
from reid.preflight.pairings import choose_pairings
from tests.support.tiny_configs import silent
from tests.support.world import World, make_world, world_config

ROWS = "evaluate.subsets=['nir+sketch->rgb','sketch*2->rgb','text->rgb']"
GROUPS = "{pairs: {sizes: 2}, drawn: [nir+sketch@sketch->rgb, sketch*2], four: {sizes: 4}}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four tested identities with two captures each, and a tiny run; of its own, for reports are written."""
    return make_world(tmp_path_factory.mktemp("anchored"))


def settings(world: World, companions: str = "{captures: others}", *more: str) -> Config:
    protocol = f"{{extends: text_to_image, name: anchored, companions: {companions}, averages: {GROUPS}}}"
    here = ("evaluate.actors=0", "evaluate.queries_shown=2", ROWS, f"evaluate.protocol={protocol}")
    return world_config(world.folder, world.shards, *here, *more)


def test_rows_are_measured_for_each_anchor_averaged_and_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate_run(settings(world), world.run, silent)
    rows = {row.label: row for row in first.evaluation.results}
    assert list(rows) == ["nir+sketch@nir → rgb", "nir+sketch@sketch → rgb", "sketch*2 → rgb", "text → rgb"]
    pairs, drawn = first.evaluation.averages
    assert (pairs.name, len(pairs.rows), drawn.rows) == (
        "pairs",
        2,
        ("nir+sketch@sketch → rgb", "sketch*2 → rgb"),
    )
    for mean in (pairs, drawn):
        assert mean.numbers["mAP"] == pytest.approx(np.mean([rows[name].metrics.mAP for name in mean.rows]))
    assert "There is no mean of four: none of its rows was measured." in first.evaluation.warnings
    report = json.loads(Path(first.files["report.json"]).read_text())
    listed = json.loads(Path(first.files["companions.json"]).read_text())
    assert report["protocol"]["companions"] == listed["sha256"]
    assert report["averages"][0]["rows"] == list(pairs.rows)
    for form in ("report.md", "report.html"):
        text = Path(first.files[form]).read_text()
        assert "mean of pairs (2 rows)" in text and listed["sha256"] in text
    assert any("mean of drawn (2 rows)" in line for line in report_lines(first))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(pipelines.embed, "EmbeddingActor", never)
    read = f"{{file: {first.files['companions.json']}, sha256: {listed['sha256']}}}"
    again = evaluate_run(settings(world, read), world.run, silent)
    assert [r.metrics.mAP for r in again.evaluation.results] == [r.metrics.mAP for r in rows.values()]
    assert again.evaluation.companions == listed["sha256"]


def test_a_query_of_several_samples_has_the_unit_mean_of_their_vectors(world: World) -> None:
    config = settings(world)
    evaluate_run(config, world.run, silent)
    plan = plan_evaluation(config)
    pairing = next(p for p in choose_pairings(config, world.run.model, plan.labels.modalities) if p.samples)
    queries = select_items(plan.protocol, plan.labels, pairing)[0].items
    known = features_of(world.run, plan.shards).read()
    stored = stack_features(queries, "query", known).numpy()
    assert len(queries) == 8  # each sketch, with the other one of its identity
    for query, vector in zip(queries, stored, strict=True):
        parts = [part for _, part in query.listed]
        assert len(parts) == 2
        mean = np.mean([known[parts_key({Modality.SKETCH: part}, "query")] for part in parts], axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=2e-6)


@pytest.mark.parametrize(
    ("companions", "more", "error", "why"),
    [
        ("{sha256: '" + 64 * "0" + "'}", (), DataError, "companions.sha256: the draw has the hash"),
        (
            "{}",
            ("evaluate.protocol.averages={x: [sketch->nir]}",),
            ConfigError,
            "averages.x: no row is called",
        ),
        ("{anchor: tir}", (), ConfigError, "has no tir, on which the queries of anchored hang"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_embedded(
    world: World,
    companions: str,
    more: tuple[str, ...],
    error: type[Exception],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr("pipelines.evaluation.evaluate.embed_work", never)
    with pytest.raises(error, match=why):
        evaluate_run(settings(world, companions, *more), world.run, silent)
