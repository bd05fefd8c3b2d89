"""The rule as a record: what it says of pairs, and what is read back."""

from __future__ import annotations

import json

import pytest

from reid.comparison.regimes import Regime
from reid.comparison.rule import ComparisonRule
from reid.comparison.terms import PairComparison, RefusedPair
from reid.errors import UsageError
from reid.modality import all_subsets, parse_subset
from tests.support.retrieval.pairwise_rule import CAMERAS, RULES, decoupled_rule


@pytest.mark.parametrize("regime", RULES)
def test_a_record_gives_the_rule_back(regime: str) -> None:
    rule = RULES[regime]
    again = ComparisonRule.from_json(json.loads(json.dumps(rule.as_json())))
    assert again == rule and again.fingerprint == rule.fingerprint


def test_rules_that_differ_have_other_fingerprints() -> None:
    assert len({rule.fingerprint for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize(
    "change", [{"regime": "psychic"}, {"query": ["sonar"]}, {"blocks": [{"name": "a"}]}, {"blocks": 3}]
)
def test_unknown_terms_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="unknown terms"):
        ComparisonRule.from_json({**decoupled_rule().as_json(), **change})


def test_decoupled_weights_are_half_specific_and_half_shared() -> None:
    found = decoupled_rule().between(parse_subset("rgb+tir"), CAMERAS)
    assert isinstance(found, PairComparison)
    shared = [t for t in found.terms if t.query_block.startswith("shared")]
    specific = [t for t in found.terms if t not in shared]
    assert len(shared) == 6 and [t.query_block for t in specific] == ["specific_rgb", "specific_tir"]
    assert {t.weight for t in found.terms} == {1 / 12}
    assert all(t.query_block == t.gallery_block for t in specific)


def test_only_matched_models_leave_out_what_they_do_not_know() -> None:
    asked, rgb = parse_subset("rgb+text"), parse_subset("rgb")
    for name, rule in RULES.items():
        found = rule.between(asked, rgb)
        if rule.regime is Regime.MATCHED:
            assert isinstance(found, PairComparison) and found.query == rgb, name
        else:
            assert isinstance(found, RefusedPair) and "cannot take text on the query side" in found.reason


def test_every_pair_has_terms_or_a_reason() -> None:
    for rule in RULES.values():
        for q in all_subsets(CAMERAS):
            for g in all_subsets(CAMERAS):
                found = rule.between(q, g)
                assert found.reason if isinstance(found, RefusedPair) else found.terms
