"""A search in a mixed gallery ranks as the slow rule does, pair by pair, in every regime, ties included."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reid.comparison.mixed import uncalibrated, worth_storing
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison, RefusedPair
from reid.errors import GalleryError, UnsupportedPairing
from reid.gallery.rows import Item
from reid.gallery.search import Hit, Mode, Searcher
from reid.gallery.store import Gallery
from reid.gallery.subset_choice import ComparedGallery, plan
from reid.modality import Subset, all_subsets, parse_subset, subset_name
from tests.support.retrieval.pairwise_rule import CAMERAS, RULES, embedded

SUBSETS = all_subsets(CAMERAS)
Own = dict[Subset, np.ndarray]


def random_items(rule: ComparisonRule, rng: np.random.Generator, coarse: bool, count: int) -> list[Own]:
    """Items of random subsets, with the vectors that they need; coarse ones come twice."""
    items: list[Own] = []
    for n in range(count):
        own = SUBSETS[rng.integers(len(SUBSETS))]
        stored = worth_storing(rule, [s for s in SUBSETS if set(s) <= set(own)])
        again = coarse and n % 3 == 2 and tuple(items[-1]) == stored
        items.append(items[-1] if again else {s: embedded(rule, s, rng, coarse) for s in stored})
    return items


def filled(path: Path, rule: ComparisonRule, items: list[Own]) -> Gallery:
    gallery = Gallery.create(str(path), rule.blocks[-1].stop, SUBSETS, "m", "runs/m", rule=rule)
    gallery.add(
        Item(f"i{n:04d}", {subset_name(s): v for s, v in item.items()}, "m") for n, item in enumerate(items)
    )
    return gallery


def planned(
    rule: ComparisonRule, searcher: Searcher, query: Subset, wanted: str | None = None
) -> ComparedGallery:
    shot = searcher.snapshot
    return plan(query, wanted, rule, rule.comparison, shot.subsets, shot.kinds, uncalibrated)


def found(searcher: Searcher, chosen: ComparedGallery, asked: Own, k: int) -> list[Hit]:
    hits = [hit for group in chosen.groups for hit in searcher.search(asked[group.query][None], group, k)[0]]
    return sorted(hits, key=lambda hit: (-hit.score, hit.row))[:k]


def slow(rule: ComparisonRule, query: Subset, asked: Own, items: list[Own]) -> dict[str, tuple[float, str]]:
    """{id: (score, scale)} of every item by its richest subset that the query can be compared with."""
    scores = {}
    for n, item in enumerate(items):
        pairs = [(rule.between(query, s), s) for s in item]
        usable = [(p, s) for p, s in pairs if isinstance(p, PairComparison) and p.gallery == s]
        if usable:
            pair, subset = max(usable, key=lambda of: (len(of[0].query), len(of[0].gallery)))
            score = rule.score(pair, asked[pair.query], item[subset])
            scores[f"i{n:04d}"] = score, pair.normaliser.scale
    return scores


def assert_ranks(hits: list[Hit], exact: dict[str, float], items: list[Own], k: int) -> None:
    """The k best by exact score, up to rounding; equal scores by id, and items that come twice together."""
    assert len(hits) == min(k, len(exact))
    for better, worse in pairwise(hits):
        assert exact[better.id] >= exact[worse.id] - 2e-6
        assert (better.score, worse.id) > (worse.score, better.id)
    names = [hit.id for hit in hits]
    assert {name for name, score in exact.items() if score > exact[names[-1]] + 2e-6} <= set(names)
    for n, (item, after) in enumerate(pairwise(items)):
        if item is after and f"i{n + 1:04d}" in names:
            assert names.index(f"i{n:04d}") == names.index(f"i{n + 1:04d}") - 1


@pytest.mark.parametrize("coarse", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("regime", RULES)
def test_search_equals_the_pairwise_rule(tmp_path: Path, regime: str, coarse: bool) -> None:
    rule, rng = RULES[regime], np.random.default_rng(len(regime))
    items = random_items(rule, rng, coarse, 150)
    searcher = Searcher(filled(tmp_path / "g", rule, items).snapshot())
    for query in SUBSETS:
        asked = {s: embedded(rule, s, rng, coarse) for s in SUBSETS if set(s) <= set(query)}
        chosen = planned(rule, searcher, query)
        every = slow(rule, query, asked, items)
        scale = {group.scale for group in chosen.groups}
        assert len(scale) == 1, "nothing is calibrated"
        ranked = {name: score for name, (score, own) in every.items() if own in scale}
        hits = found(searcher, chosen, asked, len(items))
        assert {hit.id for hit in hits} == set(ranked)
        assert max(abs(hit.score - ranked[hit.id]) for hit in hits) <= 1e-6
        for k in (7, len(items)):
            assert_ranks(found(searcher, chosen, asked, k), ranked, items, k)
        assert chosen.items == len(ranked)
        assert sum(chosen.left_out.values()) == len(items) - len(ranked)
        assert (regime == "matched") or not chosen.left_out


@pytest.mark.parametrize("mode", ["exact", "ann"])
@pytest.mark.parametrize("regime", RULES)
def test_an_item_with_fewer_modalities_changes_nobody_elses_score(
    tmp_path: Path, regime: str, mode: Mode
) -> None:
    rule, rng = RULES[regime], np.random.default_rng(1)
    items = [{s: embedded(rule, s, rng) for s in worth_storing(rule, SUBSETS)} for _ in range(90)]
    gallery = filled(tmp_path / "g", rule, items)
    query = parse_subset("rgb+nir")
    asked = {s: embedded(rule, s, rng) for s in SUBSETS if set(s) <= set(query)}
    before = Searcher(gallery.snapshot(), mode)
    hits = found(before, planned(rule, before, query), asked, 90)
    lone = embedded(rule, parse_subset("nir"), rng)
    gallery.add([Item("newcomer", {"nir": lone}, "m")])
    after = Searcher(gallery.snapshot(), mode, previous=before)
    again = found(after, planned(rule, after, query), asked, 91)
    same = [(hit.id, hit.score, hit.subset) for hit in again if hit.id != "newcomer"]
    assert same == [(hit.id, pytest.approx(hit.score, abs=1e-6), hit.subset) for hit in hits]


def test_one_index_serves_all_queries_where_the_algebra_allows(tmp_path: Path) -> None:
    for regime, rule in RULES.items():
        rng = np.random.default_rng(2)
        items = random_items(rule, rng, False, 40)
        searcher = Searcher(filled(tmp_path / regime, rule, items).snapshot())
        searcher.warm([group for query in SUBSETS for group in planned(rule, searcher, query).groups])
        assert len(searcher.built) == (len(SUBSETS) if regime == "matched" else 1), regime
        stored = {len(item) for item in items}
        assert stored == {1} if regime != "matched" else max(stored) == 7


def test_what_is_left_out_is_counted_and_told(tmp_path: Path) -> None:
    rule, rng = RULES["matched"], np.random.default_rng(3)
    rgb, nir, both = (parse_subset(s) for s in ("rgb", "nir", "rgb+nir"))
    items = [{rgb: embedded(rule, rgb, rng)}] * 5 + [{nir: embedded(rule, nir, rng)}] * 2
    items.append({s: embedded(rule, s, rng) for s in (rgb, nir, both)})
    searcher = Searcher(filled(tmp_path / "g", rule, items).snapshot())
    alone = planned(rule, searcher, nir)
    assert (alone.gallery, alone.items, dict(alone.left_out)) == ("nir", 3, {"rgb": 5})
    assert alone.warnings == ("5 of 8 items were left out, for they cannot be compared with nir: 5 of rgb.",)
    richest = planned(rule, searcher, both)
    assert (richest.gallery, dict(richest.left_out)) == ("rgb+nir", {"rgb": 5, "nir": 2})
    assert "7 of 8 items were left out" in richest.warnings[0] and "not all calibrated" in richest.warnings[0]
    asked = planned(rule, searcher, both, "rgb")
    assert (asked.query, asked.gallery, asked.items) == ("rgb", "rgb", 6)
    assert asked.warnings[-1] == "2 of 8 items have no rgb and were not searched."
    space = RULES["any_to_any"]
    mixed = planned(space, searcher, nir, "rgb|nir")
    assert (mixed.gallery, mixed.items, dict(mixed.left_out)) == ("rgb|nir", 8, {})
    assert [group.gallery_name for group in mixed.groups] == ["rgb", "nir"], "no index of its own"


def test_unknown_and_missing_subsets_are_refused(tmp_path: Path) -> None:
    rule, rng = RULES["matched"], np.random.default_rng(4)
    items = [{parse_subset("rgb"): embedded(rule, parse_subset("rgb"), rng)}]
    searcher = Searcher(filled(tmp_path / "g", rule, items).snapshot())

    def says(query: Subset, gallery: Subset) -> RefusedPair | PairComparison:
        return rule.between(query, gallery)

    with pytest.raises(UnsupportedPairing, match="shares none"):
        planned(rule, searcher, parse_subset("tir"), "rgb|nir")
    with pytest.raises(UnsupportedPairing, match=r"compared on 'rgb'.*index\.subsets"):
        plan(parse_subset("rgb"), None, rule, says, ["rgb+nir"], {}, uncalibrated)


def test_a_gallery_of_other_terms_is_refused_with_both_and_older_ones_stay_readable(tmp_path: Path) -> None:
    rule, other = RULES["any_to_any"], RULES["decoupled"]
    rng = np.random.default_rng(5)
    gallery = filled(tmp_path / "g", rule, random_items(rule, rng, False, 3))
    Gallery.open(gallery.uri).check_terms(rule)
    told = r"other terms \(any-to-any.*\) than the model's \(decoupled.*Index anew"
    with pytest.raises(GalleryError, match=told):
        Gallery.open(gallery.uri).check_terms(other)
    note = tmp_path / "g" / "gallery.json"
    note.write_text(note.read_text().replace("any_to_any", "psychic"))
    with pytest.raises(GalleryError, match=r"gallery\.json: comparison: .*psychic.*Index anew"):
        Gallery.open(gallery.uri).check_terms(rule)
    older = Gallery.create(str(tmp_path / "old"), gallery.dim, ["rgb"], "m", "runs/m")
    assert Gallery.open(older.uri).metadata.comparison is None
    Gallery.open(older.uri).check_terms(rule)


def test_subsets_that_do_not_contain_each_other_are_all_stored_and_each_can_be_asked_for(
    tmp_path: Path,
) -> None:
    """index.subsets=[rgb, nir]: an item with both is found by either, and once."""
    rule, rng = RULES["any_to_any"], np.random.default_rng(3)
    rgb, nir = parse_subset("rgb"), parse_subset("nir")
    items = [{s: embedded(rule, s, rng) for s in worth_storing(rule, [rgb, nir])} for _ in range(20)]
    searcher = Searcher(filled(tmp_path / "g", rule, items).snapshot())
    for wanted, by in (("rgb", {"rgb"}), ("nir", {"nir"}), (None, {"rgb"})):
        chosen = planned(rule, searcher, nir, wanted)
        hits = found(searcher, chosen, {nir: items[4][nir]}, 20)
        assert sorted(hit.id for hit in hits) == [f"i{n:04d}" for n in range(20)]
        assert {hit.subset for hit in hits} == by and not chosen.left_out
        assert (hits[0].id == "i0004") or wanted != "nir"
