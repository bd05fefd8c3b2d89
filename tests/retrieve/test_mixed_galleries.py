"""A mixed gallery: the evaluator, the HTTP search and NumPy rank it alike, in every regime."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison
from reid.errors import UnsupportedPairing
from reid.evaluate.evaluator import embedding_tasks, score_pairing
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.pairing import make_pairing
from reid.evaluate.protocols.pairing_names import parse_gallery
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import CAMERA, Modality, Subset, all_subsets, canonical, parse_subset, subset_name
from reid.models.base import Side
from reid.retrieve.answers import NewItem
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.support.models.tiny_decoupled import TinyDecoupled
from tests.support.retrieval.api_clients import client_of
from tests.support.retrieval.filled_galleries import calibrated_alike, make_run, picture, retriever_of

SUBSETS = all_subsets(CAMERA)
GALLERIES = ["rgb|nir", "rgb|nir+tir", "rgb+nir|tir"]
"""Kinds of items; no item has two of them."""
ITEMS = 5


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("mixed")
    cameras = subset_name(CAMERA)
    whole = make_run(folder / "any", cameras, "mean")
    return {
        "any_to_any": whole,
        "decoupled": Run(whole.folder, TinyDecoupled(CAMERA).eval(), whole.device),
        "matched": make_run(folder / "matched", cameras, "concat"),
        "calibrated": make_run(folder / "calibrated", cameras, "concat", calibration=calibrated_alike()),
    }


def seen(name: str, modality: Modality) -> bytes:
    """The picture of a sample, which nothing else shows."""
    return picture(sum(map(ord, name)) * 7 + list(CAMERA).index(modality))


@dataclass(frozen=True)
class Answer:
    """{item: what ranks it}, best first; how many items are left out."""

    ranks: dict[str, float]
    left_out: int


@dataclass
class Mixed:
    """A gallery of a few items of each kind, and one query with every modality."""

    run: Run
    kinds: tuple[Subset, ...]
    retriever: Retriever
    client: TestClient
    vectors: dict[tuple[str, Subset, Side], np.ndarray] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Subset]:
        return {f"{subset_name(kind)}-{n}": kind for kind in self.kinds for n in range(ITEMS)}

    def vector(self, name: str, subset: Subset, side: Side) -> np.ndarray:
        key = name, subset, side
        if key not in self.vectors:
            self.vectors[key] = self.run.embed({m.value: seen(name, m) for m in subset}, side=side)
        return self.vectors[key]

    def over_http(self, query: Subset) -> Answer:
        files = {m.value: ("a.jpg", seen("asked", m), "image/jpeg") for m in query}
        response = self.client.post("/v1/search", files=files, data={"top_k": "100"})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        by_ratio = body["ranked_by"] == "likelihood_ratio"
        kept = {hit["id"]: self._log_ratio(query, hit) if by_ratio else hit["score"] for hit in body["hits"]}
        return Answer(kept, sum(body["left_out"].values()))

    def _log_ratio(self, query: Subset, hit: dict[str, Any]) -> float:
        assert self.run.calibration
        used = [m for m in query if m in parse_subset(hit["compared_by"])]
        pair = self.run.calibration.of(canonical(used), hit["compared_by"])
        assert pair and hit["likelihood_ratio"] == pytest.approx(pair.likelihood_ratio(hit["score"]))
        return float(pair.ranking(hit["score"]))

    def by_numpy(self, query: Subset) -> Answer:
        """Term by term, each item by the richest subset of it that can be compared."""
        rule = self.run.model.comparison_rule
        found: dict[str, tuple[float, PairComparison]] = {}
        for name, kind in self.items.items():
            best = self._own(rule, query, kind)
            if best is not None:
                asked = self.vector("asked", best.query, "query")
                shown = self.vector(name, best.gallery, "gallery")
                found[name] = rule.score(best, asked, shown), best
        if not found:
            return Answer({}, len(self.items))
        scales = {pair.normaliser.scale for _, pair in found.values()}
        known = self.run.calibration
        if len(scales) > 1 and known:
            ranks = {}
            for name, (score, pair) in found.items():
                line = known.of(pair.query, pair.gallery)
                assert line
                ranks[name] = float(line.ranking(score))
            return Answer(ranks, len(self.items) - len(ranks))
        most = max(len(pair.query) for _, pair in found.values())
        sizes = {s: sum(p.normaliser.scale == s for _, p in found.values()) for s in scales}
        fitting = {p.normaliser.scale for _, p in found.values() if len(p.query) == most}
        scale = max(fitting, key=lambda s: (sizes[s], s))
        ranks = {name: score for name, (score, pair) in found.items() if pair.normaliser.scale == scale}
        return Answer(ranks, len(self.items) - len(ranks))

    @staticmethod
    def _own(rule: ComparisonRule, query: Subset, kind: Subset) -> PairComparison | None:
        inside = [s for s in SUBSETS if set(s) <= set(kind)] if not rule.embeds_whole else [kind]
        pairs = [(rule.between(query, s), s) for s in inside]
        usable = [p for p, s in pairs if isinstance(p, PairComparison) and p.gallery == s]
        return max(usable, key=lambda p: (len(p.query), len(p.gallery)), default=None)

    def by_evaluator(self, query: Subset) -> Answer | None:
        known = self.run.calibration
        try:
            pairing = make_pairing(query, self.kinds, self.run.model, *([known.has] if known else []))
        except UnsupportedPairing:
            return None
        labels = [SampleLabels("asked", "d", 0, images=dict.fromkeys(CAMERA, Provenance()), roles=("query",))]
        for name, kind in self.items.items():
            images = dict.fromkeys(kind, Provenance())
            labels.append(SampleLabels(name, "d", 0, images=images, roles=("gallery",)))
        protocol = get_protocol("roles")
        features = {}
        for work in embedding_tasks(protocol, labels, [pairing]):
            (name,) = {part.sample_id for part in work.parts.values()}
            features[work.key] = self.vector(name, canonical(work.parts), work.side)
        scored = score_pairing(protocol, labels, pairing, features, rankings=known.ranking if known else None)
        (values,) = scored.first.compare(slice(0, 1)).tolist()
        names = [next(iter(item.parts.values())).sample_id for item in scored.first_gallery]
        assert len(names) == len(self.items)
        return Answer(dict(zip(names, values, strict=True)), 0)


@pytest.fixture(params=GALLERIES)
def gallery(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["any_to_any", "decoupled", "matched", "calibrated"])
def mixed(request: pytest.FixtureRequest, runs: dict[str, Run], gallery: str, tmp_path: Path) -> Mixed:
    run = runs[request.param]
    kinds = parse_gallery(gallery)
    retriever = retriever_of(run, tmp_path / "g", [subset_name(s) for s in SUBSETS])
    made = Mixed(run, kinds, retriever, client_of(retriever, max_top_k=100))
    retriever.put([NewItem(name, {m: seen(name, m) for m in kind}) for name, kind in made.items.items()])
    return made


def order(answer: Answer) -> list[str]:
    return sorted(answer.ranks, key=lambda name: (-round(answer.ranks[name], 4), name))


def test_evaluator_http_and_numpy_agree_on_every_pairing(mixed: Mixed) -> None:
    together = 0
    for query in SUBSETS:
        by_hand, served, evaluated = mixed.by_numpy(query), mixed.over_http(query), mixed.by_evaluator(query)
        assert served.ranks == pytest.approx(by_hand.ranks, abs=2e-5), query
        assert list(served.ranks) == sorted(served.ranks, key=lambda name: -served.ranks[name])
        assert served.left_out == by_hand.left_out == len(mixed.items) - len(served.ranks)
        assert order(served) == order(by_hand)
        if evaluated is None:
            assert served.left_out, "what cannot be ranked together is told"
        else:
            together += 1
            assert evaluated.ranks == pytest.approx(by_hand.ranks, abs=2e-5), query
            assert order(evaluated) == order(by_hand) and not served.left_out
    crosses = mixed.run.model.comparison_rule.crosses
    assert together == len(SUBSETS) if crosses else together < len(SUBSETS)


def test_two_captures_are_compared_by_the_same_terms(runs: dict[str, Run]) -> None:
    for run in runs.values():
        rule = run.model.comparison_rule
        for query, item in (("rgb", "rgb+nir"), ("rgb+nir", "nir+tir"), ("tir", "tir")):
            asked, shown = ({m.value: seen("x" + s, m) for m in parse_subset(s)} for s in (query, item))
            pair = rule.between(parse_subset(query), parse_subset(item))
            assert isinstance(pair, PairComparison)
            q = run.embed({m.value: asked[m.value] for m in pair.query})
            g = run.embed({m.value: shown[m.value] for m in pair.gallery}, side="gallery")
            assert run.compare(asked, shown).similarity == pytest.approx(rule.score(pair, q, g), abs=1e-6)


def test_the_answer_names_each_items_own_subset(runs: dict[str, Run], tmp_path: Path) -> None:
    retriever = retriever_of(runs["any_to_any"], tmp_path / "g", ["rgb", "nir", "rgb+nir"])
    parts = {m: seen("a", m) for m in parse_subset("rgb+nir")}
    retriever.put(
        [NewItem(subset_name(s), {m: parts[m] for m in s}) for s in all_subsets(parse_subset("rgb+nir"))]
    )
    stored = retriever.gallery.snapshot().kinds
    assert len(stored) == 3 and {len(kind) for kind in stored} == {1}, "one vector an item"
    result = retriever.search({"nir": seen("a", Modality.NIR)}, 3)
    assert result.gallery_subset == "rgb+nir|rgb|nir" and not result.left_out
    assert {hit.id: hit.compared_by for hit in result} == {s: s for s in ("rgb", "nir", "rgb+nir")}
    some = retriever.search({"nir": seen("a", Modality.NIR)}, 3, "rgb|nir")
    assert {hit.id for hit in some} == {"rgb", "nir"} and some.left_out == {"rgb+nir": 1}
    assert some.warnings == ("1 of 3 items have no rgb|nir and were not searched.",)
