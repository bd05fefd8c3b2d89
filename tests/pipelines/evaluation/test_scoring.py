"""Queries scored by actors: the same results as in one process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray.data
import torch

from pipelines.evaluation import scoring
from pipelines.evaluation.scoring import ScoringActor, scorer
from reid.config import RayConfig, RerankConfig
from reid.errors import DataError, UsageError
from reid.evaluate.evaluator import PairingScores, embedding_tasks, score_pairing
from reid.evaluate.features.store import FeatureSet
from reid.evaluate.features.table import key_codes
from reid.evaluate.metrics import comparing
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.pairing import Pairing, make_pairing
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import Modality, canonical
from tests.support.retrieval.filled_galleries import calibrated_alike
from tests.support.retrieval.pairwise_rule import RULES, embedded
from tests.support.tiny_configs import silent

TEXT, RGB = (Modality.TEXT,), (Modality.RGB,)
PAIRING = Pairing(TEXT, RGB, TEXT, RGB)
LABELS = label_table_of(
    SampleLabels(
        f"s{n}", "mine", n // 5, camid=n % 3, images={Modality.RGB: Provenance()}, captions=(Provenance(),)
    )
    for n in range(100)
)
PROTOCOL = get_protocol("text_to_image")


@pytest.fixture
def store(tmp_path: Path) -> FeatureSet:
    found = FeatureSet(str(tmp_path), "model", "data")
    keys = key_codes(task.key for task in embedding_tasks(PROTOCOL, LABELS, [PAIRING]))
    draw = np.random.default_rng(0)
    for part in np.array_split(np.arange(len(keys)), 3):
        found.add(keys[part], draw.standard_normal((len(part), 8)).astype(np.float32))
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "CHUNK", 16)


def assert_same(one: PairingScores, other: PairingScores) -> None:
    for name in ("ap", "inp", "first_hit", "positives", "candidates"):
        for way in ("metrics", "without_source"):
            a, b = getattr(one, way), getattr(other, way)
            assert (a is None) == (b is None)
            if a is not None:
                assert torch.equal(getattr(a, name).nan_to_num(-1), getattr(b, name).nan_to_num(-1)), name


def test_actors_give_the_numbers_of_one_process(store: FeatureSet, ray_session: None) -> None:
    features = store.read()
    here = score_pairing(PROTOCOL, LABELS, PAIRING, features)
    said: list[str] = []
    measure = scorer(store, 2, RayConfig(), said.append, pairs=1)
    assert_same(score_pairing(PROTOCOL, LABELS, PAIRING, features, measure=measure), here)
    assert any("100 queries" in line or "100" in line for line in said)


def test_a_small_evaluation_and_a_reranked_one_are_scored_here(
    store: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_shared", None)
    features, rerank = store.read(), RerankConfig(k1=3, k2=1)
    small = scorer(store, 2, RayConfig(), silent)
    assert score_pairing(PROTOCOL, LABELS, PAIRING, features, measure=small).metrics.queries
    shared = scorer(store, 2, RayConfig(), silent, pairs=1)
    assert score_pairing(PROTOCOL, LABELS, PAIRING, features, rerank, shared).metrics.queries


def test_features_that_were_joined_meanwhile_are_refused(store: FeatureSet) -> None:
    trial = score_pairing(PROTOCOL, LABELS, PAIRING, store.read()).first
    work = scoring.packed_trial(trial)
    store.add(key_codes(["0" * 32]), np.ones((1, 8), np.float32))
    with pytest.raises(DataError, match="evaluate again"):
        ScoringActor(store, work)


@pytest.mark.slow
def test_queries_of_an_actor_that_was_killed_are_scored_again_and_counted_once(
    store: FeatureSet, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = tmp_path / "died"

    class DiesOnce(ScoringActor):
        """In the middle of its work, as a lost node takes it away."""

        def __call__(self, batch: pa.Table) -> pa.Table:
            if batch["start"][0].as_py() and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    monkeypatch.setattr(scoring, "ScoringActor", DiesOnce)
    context = ray.data.DataContext.get_current()
    monkeypatch.setitem(context._kv_configs, "anyreid.crashes", 2)  # as configure_data_context("cluster")
    features, said = store.read(), list[str]()
    here = score_pairing(PROTOCOL, LABELS, PAIRING, features)
    measure = scorer(store, 2, RayConfig(), said.append, pairs=1)
    assert_same(score_pairing(PROTOCOL, LABELS, PAIRING, features, measure=measure), here)
    assert died.exists() and any("100/100 queries" in line for line in said)


@pytest.mark.parametrize("regime", ["decoupled", "matched"])
def test_a_mixed_gallery_travels_with_its_comparison(tmp_path: Path, regime: str) -> None:
    both = (Modality.RGB, Modality.NIR)
    rule, kinds = RULES[regime], ((Modality.RGB,), (Modality.NIR,))
    known = calibrated_alike()
    pairing = make_pairing(both, kinds, rule, known.has)
    labels = label_table_of(
        SampleLabels(f"s{n}", "mine", n // 5, images=dict.fromkeys(both, Provenance())) for n in range(40)
    )
    store, protocol = FeatureSet(str(tmp_path), "model", "data"), get_protocol("all")
    work = list(embedding_tasks(protocol, labels, [pairing]))
    assert len(work) == len({task.key for task in work}) == 40 * (3 if regime == "decoupled" else 4)
    draw = np.random.default_rng(0)
    vectors = [embedded(rule, canonical(task.parts), draw) for task in work]
    store.add(key_codes(task.key for task in work), np.stack(vectors))
    scored = score_pairing(protocol, labels, pairing, store.read(), rankings=known.ranking)
    assert len(scored.first.groups) == (1 if regime == "decoupled" else 2)
    found = ScoringActor(store, scoring.packed_trial(scored.first))(pa.table({"start": [8], "stop": [24]}))
    assert found["ap"].to_pylist() == scored.metrics.ap[8:24].tolist()
    with pytest.raises(UsageError, match=r"evaluate\.rerank: .*rgb\|nir is not compared by one cosine"):
        score_pairing(protocol, labels, pairing, store.read(), RerankConfig(), rankings=known.ranking)
