"""Training that cannot work, or cannot teach anything, is told by its field before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.config import load
from reid.data.shards.schema import Sample
from reid.errors import AnyReIDError, ConfigError, DataError, TrainingError, WeightsError
from reid.modality import Modality
from reid.preflight import ListedData, preflight
from tests.support.sets.labelled_rows import listed, rows
from tests.support.sets.shards import make_sample, make_shards
from tests.support.tiny_configs import config_of

RGB, NIR = Modality.RGB, Modality.NIR
EIGHT = listed(rows(range(8)))
MFRNET = (
    "model={name: mfrnet, weights: random, tower: {arch: null, patch: 8, width: 32, layers: 2, heads: 2}}"
)


def test_a_healthy_set_is_told_nothing() -> None:
    assert preflight(config_of("/w"), "train", EIGHT) == []


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        (
            ["train.batch.identities=1", "train.batch.instances=1"],
            ConfigError,
            "train.batch.identities: a batch",
        ),
        (["train.batch.identities=1", "train.batch.sampler=tuple"], ConfigError, "one row (P = 1)"),
        (["train.batch.identities=9"], TrainingError, "train.batch.identities: a batch needs 9"),
        (["train.batch.identities=7", "train.val.fraction=0.25"], TrainingError, "training has 6"),
        (["train.batch.identities=3", "train.workers=2"], ConfigError, "not a multiple of 2 workers"),
        (["train.val.fraction=0.95"], ConfigError, "train.val.fraction: 8 training identities are too few"),
        (["train.val.protocol=acros"], ConfigError, "train.val.protocol"),
        (["train.optim.groups=[{match: towr, lr: 0.1}]"], ConfigError, "'towr' matches no trainable"),
        (["train.init_from=/nowhere"], WeightsError, "/nowhere"),
        (["model.fusion=concat"], ConfigError, "model.fusion: concat takes camera modalities only"),
        (
            ["data.modalities=sketch+text", "train.batch.sampler=cross"],
            ConfigError,
            "train.batch.sampler: cross",
        ),
        (["build.generate.nir={generator: ir_nirr}"], ConfigError, "Did you mean 'ir_nir'"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(
    overrides: list[str], kind: type[AnyReIDError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        preflight(config_of("/w", *overrides), "train", EIGHT)
    assert words in str(caught.value)


def test_one_identity_has_nothing_to_be_told_from() -> None:
    with pytest.raises(TrainingError, match=r"^data\.reader: training has 1 usable identity.*2 or more"):
        preflight(config_of("/w"), "train", listed(rows([5])))


def test_a_set_without_a_training_split_says_which_it_has() -> None:
    with pytest.raises(DataError, match="a folder has no train split; it has test"):
        preflight(config_of("/w"), "train", listed(rows(range(4), split="test")))


@pytest.mark.parametrize(
    ("overrides", "captures", "words"),
    [
        (["train.batch.identities=1"], 4, "no batch holds two identities"),
        (["train.batch.instances=1"], 4, "no batch holds two captures of an identity"),
        ([], 1, "all 8 training identities have one capture only"),
        (["train.val.fraction=0.25"], 4, "validation: on 2 identities only; with fewer than 10"),
    ],
)
def test_a_choice_that_costs_something_is_told(overrides: list[str], captures: int, words: str) -> None:
    told = preflight(config_of("/w", *overrides), "train", listed(rows(range(8), captures)))
    assert [line for line in told if words in line] == told and told


def test_single_captures_are_told_from_half_of_the_identities_on() -> None:
    few = listed(rows(range(3), 1), rows(range(3, 8)))
    many = listed(rows(range(4), 1), rows(range(4, 8)))
    assert preflight(config_of("/w"), "train", few) == []
    (told,) = preflight(config_of("/w"), "train", many)
    assert told.startswith("4 of 8 training identities have one capture only")


def test_a_share_that_rounds_to_nobody_holds_out_two_and_says_so() -> None:
    told = preflight(config_of("/w", "train.val.fraction=0.05"), "train", EIGHT)
    assert "0.05 of 8 training identities is 0" in told[0] and "2 are held out" in told[0]


def test_validation_without_a_right_answer_is_refused() -> None:
    alone = listed(rows(range(8), cameras=1))
    config = config_of("/w", "train.val.fraction=0.25", "train.val.protocol=cross_camera")
    with pytest.raises(ConfigError, match=r"^train\.val\.protocol: under cross_camera no query"):
        preflight(config, "train", alone)


@pytest.mark.parametrize(
    ("have", "lacking"), [("rgb+nir", "tir, sketch, text"), ("rgb+tir+text", "nir, sketch")]
)
def test_a_modality_that_no_training_row_has_is_refused(have: str, lacking: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preflight(config_of("/w", "build.generate={}"), "train", listed(rows(range(8), modalities=have)))
    told = f"data.modalities: no training row of a folder has {lacking}; they have {have}."
    assert str(caught.value).startswith(told)


def test_the_reasons_why_the_build_set_rows_aside_are_named(tmp_path: Path) -> None:
    kept: list[Sample] = [make_sample(pid, n, [RGB], camid=n) for pid in range(8) for n in range(2)]
    aside = [{"sample_id": f"n{i}", "reason": "nir.png: cut short", "files": []} for i in range(3)]
    shards = make_shards(tmp_path / "set", [kept], quarantine_rows=aside, quarantined=3)
    config = config_of("/w", "data.modalities=rgb+nir", f"data.shards={shards.root}")
    with pytest.raises(ConfigError, match=r"has nir;.*The build set 3 rows aside: nir\.png: cut short \(3\)"):
        preflight(config, "train")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.fusion=concat"], "data.modalities: baseline with these settings needs all of rgb+nir"),
        ([MFRNET, "model.ffm.enabled=false", "model.frm.enabled=false"], "data.modalities: mfrnet"),
        (
            ["model.fusion=concat", "train.batch.modality_dropout=0.2"],
            "train.batch.modality_dropout: baseline",
        ),
        (
            ["model.fusion=concat", "train.batch.sampler=cross"],
            "train.batch.sampler: cross draws rows of one",
        ),
    ],
)
def test_a_system_that_needs_whole_rows_refuses_incomplete_ones(overrides: list[str], words: str) -> None:
    data = listed(rows(range(8), modalities="rgb+nir"), rows(range(2), 1, "rgb"))
    config = config_of("/w", "data.modalities=rgb+nir", "build.generate={}", *overrides)
    with pytest.raises(ConfigError) as caught:
        preflight(config, "train", data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.batch={sampler: tuple, pairing: same_id}", "train.batch.pairing: same_id lays pictures"),
        ("train.augment.geometry=independent", "train.augment.geometry: a mask is one for all modalities"),
    ],
)
def test_batches_that_a_mask_does_not_fit_are_refused(override: str, words: str) -> None:
    config = load("stmi/synthetic", ["data.shards=/nowhere", override])
    with pytest.raises(ConfigError) as caught:
        preflight(config, "train", listed(rows(range(40), modalities="rgb+nir+tir")))
    assert words in str(caught.value)


def test_a_system_that_completes_rows_takes_incomplete_ones() -> None:
    data = listed(rows(range(8), modalities="rgb+nir"), rows(range(2), 1, "rgb"))
    config = config_of(
        "/w", "data.modalities=rgb+nir", "build.generate={}", MFRNET, "model.frm.enabled=false"
    )
    assert preflight(config, "train", data) == []


TUPLES = ("model.fusion=concat", "train.batch.sampler=tuple", "train.batch.incomplete=allow")


def test_tuples_that_are_whole_only_together_are_whole_rows() -> None:
    halves = listed(rows(range(8), modalities="rgb"), rows(range(8), modalities="nir"))
    config = config_of("/w", "data.modalities=rgb+nir", "build.generate={}", *TUPLES)
    assert preflight(config, "train", halves) == []


@pytest.mark.parametrize("pairing", ["same_id", "same_sample"])
def test_tuples_that_lack_a_modality_are_refused_where_rows_are_to_be_whole(pairing: str) -> None:
    data = listed(rows(range(8), modalities="rgb+nir"), rows([8], 3, "rgb"), rows([9], 3, "nir"))
    given = ("data.modalities=rgb+nir", "build.generate={}", f"train.batch.pairing={pairing}")
    with pytest.raises(ConfigError, match=r"every training row; 3 captures lack some, e\.g\. one of tiny/8"):
        preflight(config_of("/w", *given, *TUPLES), "train", data)


def test_a_band_that_the_build_takes_as_near_infrared_is_counted() -> None:
    config = config_of("/w", "data.modalities=rgb+nir", "data.fourth_band=nir", "build.generate={}")
    planned = ListedData.planned("a folder", rows(range(8), modalities="rgb"), config)
    assert preflight(config, "train", planned) == []


def test_identities_that_the_sampler_leaves_out_are_told() -> None:
    data = listed(rows(range(6), modalities="rgb+text"), rows([6, 7], modalities="rgb"))
    config = config_of("/w", "data.modalities=rgb+text", "build.generate={}", "train.batch.sampler=tuple")
    (told,) = preflight(config, "train", data)
    assert told.startswith(
        "train.batch.sampler=tuple leaves out 2 training identities, e.g. tiny/6; they lack text"
    )
