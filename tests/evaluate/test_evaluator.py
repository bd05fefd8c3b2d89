"""From labels and vectors to metrics: trials, leakage, shared vectors, and vectors that cannot be used."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import RerankConfig
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import DataError, UnsupportedPairing
from reid.evaluate.evaluator import PairingScores, embedding_tasks, score_pairing
from reid.evaluate.metrics.retrieval import evaluate_features
from reid.evaluate.metrics.trials import TrialMetrics
from reid.evaluate.protocols.items import QueryPart, SampleLabels, parts_key
from reid.evaluate.protocols.pairing import Pairing, make_pairing, parse_pairing
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.modality import ORDER, PUBLISHED
from tests.support.retrieval.evaluation_rows import CAPTURED, GENERATED, infrared, row
from tests.support.retrieval.pairwise_rule import aligned_rule, space_rule

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


anything = space_rule(ORDER)
"""The rule of a model that compares everything."""


def pairing(text: str) -> Pairing:
    return parse_pairing(text, ((RGB,),), anything)


def vectors(
    protocol: Protocol, labels: list[SampleLabels], *pairings: Pairing, dim: int = 8
) -> dict[str, Any]:
    """Random, but the same for the same parts."""
    found = {}
    for work in embedding_tasks(protocol, labels, pairings):
        generator = np.random.default_rng(int(work.key[:8], 16))
        found[work.key] = generator.standard_normal(dim).astype(np.float32)
    return found


def persons(count: int = 8, cameras: int = 4, each: int = 3) -> list[SampleLabels]:
    """Even cameras see RGB, odd ones infrared."""
    return [
        (row if camid % 2 == 0 else infrared)(f"cam{camid}/{pid}/{n}", pid, camid, location=str(camid))
        for pid in range(count)
        for camid in range(cameras)
        for n in range(each)
    ]


def test_trials_rank_each_drawn_gallery_and_report_mean_and_spread() -> None:
    labels, sysu, asked = persons(), get_protocol("sysu_all"), pairing("nir->rgb")
    features = vectors(sysu, labels, asked)
    scored = score_pairing(sysu, labels, asked, features)
    assert isinstance(scored.metrics, TrialMetrics)
    assert len(scored.metrics.trials) == len(scored.draws) == 10
    by_hand = []
    for draw in scored.draws:
        chosen = {scored.gallery.items[i].item_id for i in draw}
        assert len(chosen) == 8 * 2
        queried = [r for r in labels if NIR in (r.images or {})]
        small = [r for r in labels if r.sample_id in chosen] + queried
        free = Protocol(sysu.config.model_copy(update={"gallery": get_protocol("all").config.gallery}))
        by_hand.append(score_pairing(free, small, asked, features).metrics)
    assert scored.metrics.mAP == pytest.approx(statistics.fmean(m.mAP for m in by_hand))
    assert scored.metrics.cmc_at(5) == pytest.approx(statistics.fmean(m.cmc_at(5) for m in by_hand))
    assert scored.metrics.spread()["mAP"] > 0


def test_every_way_to_sample_or_exclude_needs_the_same_vectors() -> None:
    labels, asked = persons(), pairing("nir->rgb")
    first = get_protocol("sysu_all")
    features = vectors(first, labels, asked)
    for name in ("sysu_all_multi", "sysu_indoor", "llcm", "regdb", "all", "cross_camera", "text_to_image"):
        assert {w.key for w in embedding_tasks(get_protocol(name), labels, [asked])} <= set(features), name


def test_a_mixed_gallery_ranks_items_of_both_kinds_together() -> None:
    labels, mixed = persons(), make_pairing((NIR,), ((RGB,), (NIR,)), anything)
    assert mixed.name == "nir->rgb|nir"
    features = vectors(get_protocol("mix"), labels, mixed)
    found = {
        name: score_pairing(get_protocol(name), labels, mixed, features)
        for name in ("mix", "mix_cam", "mix_id")
    }
    assert all(len(s.gallery.items) == len(labels) for s in found.values())
    assert set(found["mix"].metrics.positives.tolist()) == {4 * 3 - 1}  # all but itself
    assert set(found["mix_cam"].metrics.positives.tolist()) == {3 * 3}  # other cameras
    assert set(found["mix_cam"].metrics.candidates.tolist()) == {8 * 3 * 3}
    assert set(found["mix_id"].metrics.positives.tolist()) == {2 * 3}  # RGB alone
    assert set(found["mix_id"].metrics.candidates.tolist()) == {len(labels) - 2 * 3}
    sampled = score_pairing(get_protocol("sysu_mix"), labels, mixed, features)
    assert {len(draw) for draw in sampled.draws} == {8 * 4}


def test_sysu_merges_the_room_that_two_cameras_see() -> None:
    labels = [
        row("seen", 0, 1, location="2"),
        row("elsewhere", 0, 3, location="4"),
        row("x", 1, 1, location="2"),
    ]
    labels.append(infrared("asked", 0, 2, location="2"))
    mixed = make_pairing((NIR,), ((RGB,), (NIR,)), anything)
    for name, left in (("sysu_mix_cam", 1), ("sysu_mix_cam_id", 2), ("sysu_mix_id", 3), ("sysu_mix", 3)):
        protocol = get_protocol(name)
        scored = score_pairing(protocol, labels, mixed, vectors(protocol, labels, mixed))
        assert scored.metrics.candidates.tolist() == [left], name


def test_uni_modal_asks_a_modality_of_itself_in_other_cameras() -> None:
    labels, alone = persons(), pairing("nir->nir")
    protocol = get_protocol("sysu_uni_modal")
    scored = score_pairing(protocol, labels, alone, vectors(protocol, labels, alone))
    assert set(scored.metrics.positives.tolist()) == {1}  # single shot, without its own camera


def test_duplicates_under_another_name_are_found_only_where_a_protocol_lets_them() -> None:
    labels = [
        row("query/1", 0, 1, roles=("query",), content_hash="same"),
        row("gallery/1", 0, 2, roles=("gallery",), content_hash="same"),
        row("gallery/2", 0, 3, roles=("gallery",), content_hash="other"),
    ]
    asked = pairing("rgb->rgb")
    for name, positives in (("cross_camera", 2), ("market1501", 2), ("roles", 1), ("all", 1)):
        protocol = get_protocol(name)
        scored = score_pairing(protocol, labels, asked, vectors(protocol, labels, asked))
        assert scored.metrics.positives.tolist()[0] == positives, name


def described() -> tuple[list[SampleLabels], dict[str, Any]]:
    """Two photos of an identity; sketch and sentence of the first are copies of it in feature space."""
    images = {RGB: CAPTURED, SKETCH: GENERATED}
    labels = [
        row("source", 0, 1, images=images, captions=(CAPTURED,)),
        row("stranger", 1, 2),
        row("other", 0, 3),
    ]
    points = {"source": [1.0, 0.0], "stranger": [0.9, 0.4], "other": [0.7, 0.7]}
    features = {}
    for name, point in points.items():
        features[parts_key({RGB: QueryPart(name)}, "gallery")] = np.array(point, np.float32)
    cheating = np.array(points["source"], np.float32)
    features[parts_key({SKETCH: QueryPart("source")}, "query")] = cheating
    features[parts_key({TEXT: QueryPart("source", 0)}, "query")] = cheating
    features[parts_key({SKETCH: QueryPart("source"), TEXT: QueryPart("source", 0)}, "query")] = cheating
    return labels, features


def test_a_query_that_would_find_its_own_source_does_not() -> None:
    labels, features = described()
    honest = score_pairing(get_protocol("text_to_image"), labels, pairing("sketch->rgb"), features)
    assert honest.metrics.first_hit.tolist() == [2]
    assert honest.without_source is None
    leaky = Protocol(ProtocolConfig(exclude=(), leakage="never", query={"roles": False}))
    cheated = score_pairing(leaky, labels, pairing("sketch->rgb"), features)
    assert cheated.metrics.first_hit.tolist() == [1]
    assert cheated.without_source is not None
    assert cheated.without_source.first_hit.tolist() == [2]
    assert any("leakage: never" in warning for warning in leaky.warnings(labels))


def test_a_sentence_keeps_its_photo_in_the_headline_and_both_numbers_are_told() -> None:
    labels, features = described()
    scored = score_pairing(get_protocol("text_to_image"), labels, pairing("text->rgb"), features)
    assert scored.metrics.first_hit.tolist() == [1]
    assert scored.without_source is not None
    assert scored.without_source.first_hit.tolist() == [2]
    both = score_pairing(get_protocol("text_to_image"), labels, pairing("text+sketch->rgb"), features)
    assert (both.metrics.first_hit.tolist(), both.without_source) == ([2], None)
    assert "queries of text alone keep them" in get_protocol("text_to_image").exclusions[0]


def test_re_ranking_changes_the_order_and_exclusions_come_after_it() -> None:
    labels, asked = persons(), pairing("nir->rgb")
    protocol = get_protocol("regdb")
    features = vectors(protocol, labels, asked)
    plain: PairingScores = score_pairing(protocol, labels, asked, features)
    again = score_pairing(protocol, labels, asked, features, RerankConfig(k1=5, k2=2))
    assert plain.metrics.mAP != again.metrics.mAP
    assert torch.equal(plain.metrics.candidates, again.metrics.candidates)
    by_hand = evaluate_features(
        torch.ones(1, 2),
        torch.ones(2, 2),
        *(_two(labels)),
        compare=lambda rows: torch.tensor([[0.1, 0.9]])[rows],
    )
    assert by_hand.first_hit.tolist() == [2]


def _two(labels: list[SampleLabels]) -> Any:
    from reid.evaluate.protocols.label_arrays import label_arrays_of

    found = get_protocol("all").gallery(labels, [RGB]).items
    first = [g for g in found if g.pid == 0][:1] + [g for g in found if g.pid == 1][:1]
    query = get_protocol("all").queries(labels, [NIR]).items[:1]
    return label_arrays_of(query, first, labels)


def test_rules_that_lack_their_labels_are_told() -> None:
    labels = [row("a", 0, 1), row("b", 0, None), infrared("c", 0, 2, location="3")]
    told = get_protocol("sysu_all").warnings(labels)
    assert told == ("Rule location cannot see 2 of 3 samples, which have no location.",)
    assert "1 of 3 samples, which have no camid" in get_protocol("cross_camera").warnings(labels)[0]
    assert get_protocol("roles").warnings(labels) == ()


def test_vectors_that_cannot_be_used_are_refused() -> None:
    labels, asked, protocol = persons(), pairing("nir->rgb"), get_protocol("regdb")
    features = vectors(protocol, labels, asked)
    key = next(w.key for w in embedding_tasks(protocol, labels, [asked]) if w.side == "gallery")
    with pytest.raises(DataError, match="gallery features are not finite"):
        score_pairing(protocol, labels, asked, {**features, key: np.full(8, np.nan, np.float32)})
    with pytest.raises(DataError, match=r"others 3: features are of another model|has 8 numbers, others 3"):
        score_pairing(protocol, labels, asked, {**features, key: np.zeros(3, np.float32)})
    shorter = vectors(protocol, labels, asked, dim=4)
    mixed = {
        w.key: (features if w.side == "query" else shorter)[w.key]
        for w in embedding_tasks(protocol, labels, [asked])
    }
    with pytest.raises(DataError, match=r"have 8 and 4 numbers; features are of another model"):
        score_pairing(protocol, labels, asked, mixed)
    del features[key]
    with pytest.raises(DataError, match=r"No gallery vector of 'cam0/0/0': .*Embed again"):
        score_pairing(protocol, labels, asked, features)


def test_a_model_that_compares_kinds_by_different_modalities_is_refused() -> None:
    with pytest.raises(UnsupportedPairing, match="no common order"):
        make_pairing((RGB, NIR), ((RGB,), (NIR,)), aligned_rule())
