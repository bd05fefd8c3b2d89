"""Evaluation and indexing of what nobody can answer is refused from labels and configuration alone."""

from __future__ import annotations

import pytest

from reid.errors import AnyReIDError, ConfigError, DataError, UnsupportedPairing, WeightsError
from reid.preflight import Verb, preflight
from tests.support.sets.labelled_rows import listed, rows
from tests.support.tiny_configs import config_of

TESTED = listed(rows(range(4), split="test"))
BARE = "build.generate={}"


@pytest.mark.parametrize("verb", ["evaluate", "index"])
def test_a_healthy_split_is_told_nothing(verb: Verb) -> None:
    assert preflight(config_of("/w"), verb, TESTED) == []


@pytest.mark.parametrize(
    ("verb", "overrides", "kind", "words"),
    [
        (
            "evaluate",
            ["evaluate.split=val"],
            DataError,
            "evaluate.split: a folder has no 'val' samples; it has test",
        ),
        (
            "index",
            ["index.split=train"],
            DataError,
            "index.split: a folder has no 'train' samples; it has test",
        ),
        ("evaluate", ["evaluate.protocol=crosscam"], ConfigError, "crosscam"),
        (
            "evaluate",
            ["data.modalities=rgb", "evaluate.subsets=nir->rgb"],
            UnsupportedPairing,
            "cannot take nir",
        ),
        (
            "evaluate",
            [
                "evaluate.subsets=['rgb+nir@nir->rgb']",
                "evaluate.protocol={extends: all, companions: {file: /nowhere.json}}",
            ],
            AnyReIDError,
            "/nowhere.json",
        ),
        (
            "evaluate",
            ["evaluate.protocol={extends: all, averages: {mine: [tir->nir]}}"],
            ConfigError,
            "evaluate.protocol.averages.mine: no row is called 'tir->nir'. Did you mean",
        ),
        ("index", ["data.modalities=rgb", "index.subsets=[text]"], UnsupportedPairing, "cannot take text"),
        ("evaluate", ["run=/nowhere"], WeightsError, "/nowhere"),
        ("index", ["run=/nowhere"], WeightsError, "/nowhere"),
    ],
)
def test_what_cannot_work_is_refused(
    verb: Verb, overrides: list[str], kind: type[AnyReIDError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        preflight(config_of("/w", BARE, *overrides), verb, TESTED)
    assert words in str(caught.value)


def test_one_capture_an_identity_has_no_right_answer() -> None:
    with pytest.raises(ConfigError, match="no query of the test split has a right answer"):
        preflight(config_of("/w"), "evaluate", listed(rows(range(4), captures=1, split="test")))


def test_data_that_the_model_does_not_take_are_refused() -> None:
    only = listed(rows(range(4), modalities="tir", split="test"))
    config = config_of("/w", BARE, "data.modalities=rgb+nir")
    with pytest.raises(DataError, match=r"test split has tir; the model takes rgb\+nir"):
        preflight(config, "evaluate", only)
    with pytest.raises(DataError, match=r"^index\.subsets: no gallery sample .* has rgb\+nir; they have tir"):
        preflight(config, "index", only)


def test_the_protocol_that_labels_choose_is_told() -> None:
    (told,) = preflight(config_of("/w"), "evaluate", listed(rows(range(4), split="test", cameras=1)))
    assert told.startswith("one camera: evaluate.protocol=auto is the protocol roles")


def test_an_anchor_that_no_sample_has_is_refused() -> None:
    config = config_of("/w", "evaluate.subsets=['nir+sketch@sketch->rgb']")
    with pytest.raises(
        DataError, match=r"companions\.anchor: nir\+sketch@sketch->rgb hangs on sketch, and no "
    ):
        preflight(config, "evaluate", listed(rows(range(4), split="test", modalities="rgb+nir")))
