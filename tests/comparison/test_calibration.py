"""What a calibration says of a score, and how it is stored."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reid.comparison.calibration import (
    Calibration,
    IsotonicMap,
)
from reid.errors import UsageError, WeightsError
from reid.evaluate.calibration.fitting import fit
from tests.support.retrieval.similarities import calibrated, drawn


def test_a_probability_is_the_ratio_under_a_prior() -> None:
    pair = calibrated()
    assert pair.likelihood_ratio(0.4) == pytest.approx(math.exp(4))
    for prior in (0.5, 0.01, 1e-6):
        odds = math.exp(4) * prior / (1 - prior)
        assert pair.probability(0.4, prior) == pytest.approx(odds / (1 + odds))
    assert pair.probability(0.3, 0.2) == pytest.approx(0.2)
    for wrong in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UsageError, match="prior"):
            pair.probability(0.3, wrong)


def stored() -> Calibration:
    pairs = drawn(np.random.default_rng(0), 200, 3000)
    return Calibration(
        model_fingerprint="abc",
        data_fingerprint="def",
        protocol="cross_camera",
        fraction=0.1,
        identities=200,
        pairings=(
            fit(pairs, "rgb", "rgb", resamples=5),
            fit(pairs, "text", "rgb", "isotonic", resamples=5),
        ),
        lacking={"nir->rgb": "no validation sample has 'nir'"},
    )


def test_what_is_stored_comes_back_exactly() -> None:
    written = stored()
    tree = json.loads(json.dumps(written.model_dump(mode="json"), allow_nan=False))
    read = Calibration.load(tree, "abc", "calibration.json")
    assert read == written
    found = read.of("text", "rgb")
    assert found is not None and isinstance(found.map, IsotonicMap)
    assert found.threshold(0.01) == written.pairings[1].threshold(0.01)
    assert read.of("rgb", "text") is None


def test_unknown_keys_and_other_models_are_refused() -> None:
    tree = stored().model_dump(mode="json")
    with pytest.raises(WeightsError, match=r"c\.json: calibrated for model abc, but the weights are xyz"):
        Calibration.load(tree, "xyz", "c.json")
    with pytest.raises(WeightsError, match=r"c\.json: .*protocl: unknown key.*Did you mean 'protocol'"):
        Calibration.load({**tree, "protocl": "x"}, "abc", "c.json")
    with pytest.raises(WeightsError, match="version"):
        Calibration.load({**tree, "version": 2}, "abc", "c.json")
    tree["pairings"][0]["map"]["slope"] = -1
    with pytest.raises(WeightsError, match="slope"):
        Calibration.load(tree, "abc", "c.json")
    with pytest.raises(ValueError, match="must not fall"):
        IsotonicMap(scores=(0, 1), log_ratios=(1, 0))
