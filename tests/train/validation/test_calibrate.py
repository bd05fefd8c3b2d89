"""Calibration when training ends: which pairings, from which pairs, and why there may be none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reid.comparison.calibration import Calibration, IsotonicMap
from reid.config import Config
from reid.config.addresses import run_fingerprint
from reid.data.batches.collate import Collator
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import PUBLISHED, subset_name
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.runs.folder import RunFolder
from reid.runs.identities import LabelMap
from reid.runs.run import Run, load_run, model_context
from reid.train.loop import train
from reid.train.validation.calibrate import calibrated_pairings, calibration_of
from reid.train.validation.validate import Validator
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, new_model

Configure = Callable[..., Config]
RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED
HALF = ("train.val.fraction=0.5", "train.epochs=1", "train.steps_per_epoch=1")


def trained(config: Config, folder: Path) -> Run:
    train(config, str(folder))
    return load_run(str(folder))


def test_a_trained_run_is_calibrated_on_its_validation_identities(
    configure: Configure, tmp_path: Path, shards: ShardSet
) -> None:
    run = trained(configure(*HALF), tmp_path / "run")
    found = run.calibration
    assert found is not None
    assert (found.model_fingerprint, found.data_fingerprint) == (run.fingerprint, shards.fingerprint)
    assert (found.protocol, found.split, found.fraction, found.identities) == (
        "cross_camera",
        "train",
        0.5,
        4,
    )
    assert [p.name for p in found.pairings] == ["rgb", "nir", "rgb+nir"]
    for pair in found.pairings:
        # Four identities in three cameras, each pair of captures once: 4 x 3 of one and 66 - 12 of two.
        assert (pair.identities, pair.positive_pairs, pair.negative_pairs) == (4, 12, 54)
        assert (pair.queries, pair.gallery_items) == (12, 12)
        assert pair.verification == pair.open_set == ()  # no rate has ten false matches
        assert pair.floor == -math.log(13)
    assert run.folder.info["calibration"] == "calibration.json"
    assert run.folder.why_uncalibrated == ""
    assert run.calibration is found


def test_any_to_any_runs_calibrate_every_subset_against_the_validation_gallery(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(*HALF, *MEAN_WITH_TEXT, "train.val.gallery=nir", "train.val.calibrator=isotonic")
    found = trained(config, tmp_path / "run").calibration
    assert found is not None
    asked = ["rgb", "nir", "text", "rgb+nir+text", "rgb+nir", "rgb+text", "nir+text"]
    assert [(p.query, p.gallery) for p in found.pairings] == [(name, "nir") for name in asked]
    counts = {p.query: (p.positive_pairs, p.negative_pairs) for p in found.pairings}
    assert counts["nir"] == (12, 54)
    assert counts["text"] == counts["rgb+nir"] == (24, 108)  # (a, b) and (b, a) are two comparisons
    assert all(isinstance(p.map, IsotonicMap) for p in found.pairings)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ((), r"^no validation identities: train\.val\.fraction is 0"),
        (("train.val={fraction: 0.5, calibrate: false}",), r"^train\.val\.calibrate is false"),
    ],
)
def test_without_enough_to_tell_there_is_none_and_the_run_says_why(
    configure: Configure, tmp_path: Path, fields: tuple[str, ...], why: str
) -> None:
    config = configure("train.epochs=1", "train.steps_per_epoch=1", *fields)
    run = trained(config, tmp_path / "run")
    assert run.calibration is None
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["calibration"] is None
    assert re.match(why, info["uncalibrated"])
    assert run.folder.why_uncalibrated == info["uncalibrated"]


def test_a_val_split_of_one_identity_tells_too_little(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    rows = [sample(pid, camera, "val" if pid == 6 else "train") for pid in range(7) for camera in (2, 5, 6)]
    shards = write_shards(tmp_path / "shards", rows)
    config = configure("train.epochs=1", "train.steps_per_epoch=1", f"data.shards={shards.root}")
    run = trained(config, tmp_path / "run")
    assert run.calibration is None
    why = "^too few validation pairs under cross_camera: .*1 identities"
    assert re.match(why, run.folder.why_uncalibrated)
    assert not (tmp_path / "run" / "calibration.json").exists()


def test_a_val_split_of_its_own_is_named(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    rows = [sample(pid, c, "val" if pid > 7 else "train") for pid in range(11) for c in (2, 5, 6)]
    shards = write_shards(tmp_path / "shards", rows)
    config = configure("train.epochs=1", "train.steps_per_epoch=1", f"data.shards={shards.root}")
    found = trained(config, tmp_path / "run").calibration
    assert found is not None
    assert (found.split, found.fraction, found.identities) == ("val", None, 3)


def test_the_weights_that_are_kept_are_those_that_are_calibrated(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.val.fraction=0.5", "train.epochs=3", "train.optim.lr=1e-2")
    run = trained(config, tmp_path / "run")
    again = calibration_of(
        config, ShardSet.open(str(config.data.shards)), validator_of(run), run.model, run.device
    )
    assert isinstance(again, Calibration)
    assert again.pairings == run.calibration.pairings  # type: ignore[union-attr]


def validator_of(run: Run) -> Validator:
    shards = ShardSet.open(str(run.config.data.shards))
    held_out = [i for i in shards.identities("train") if i not in run.labels.classes]
    return Validator(shards, held_out, run.collator, get_protocol("cross_camera"))


def test_the_protocol_of_validation_decides_which_pairs_count(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    rows = [sample(pid, c) for pid in range(8) for c in (2, 5, 6)]
    two_cameras = [replace(r, labels=replace(r.labels, camid=min(r.labels.camid or 0, 5))) for r in rows]
    shards = write_shards(tmp_path / "shards", two_cameras)
    for protocol, positives in (("cross_camera", 4 * 2), ("all", 4 * 3)):
        config = configure(*HALF, f"train.val.protocol={protocol}", f"data.shards={shards.root}")
        found = trained(config, tmp_path / protocol).calibration
        assert found is not None
        assert found.protocol == protocol
        assert [p.positive_pairs for p in found.pairings] == [positives] * 3


def test_what_a_capture_shows_of_itself_never_counts(configure: Configure, tmp_path: Path) -> None:
    """Also where the protocol lets a sentence find the very photo that it describes."""
    fields = ("train.epochs=0", "train.val={fraction: 0.5, protocol: text_to_image}")
    found = trained(configure(*MEAN_WITH_TEXT, *fields), tmp_path / "run").calibration
    assert found is not None
    assert "the query's own sample" in found.exclusions
    assert {p.name: p.positive_pairs for p in found.pairings}["rgb"] == 4 * 3
    assert {p.name: p.positive_pairs for p in found.pairings}["text->rgb"] == 4 * 3 * 2


def test_a_pairing_that_cannot_be_calibrated_is_listed_with_its_reason(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    rows = [sample(pid, c) for pid in range(8) for c in (2, 5, 6)]
    for row in rows:
        if row.labels.camid != 2:  # no identity has NIR in two cameras
            del row.images[NIR]  # type: ignore[attr-defined]
    shards = write_shards(tmp_path / "shards", rows)
    fields = ("train.epochs=0", "train.val={fraction: 0.5, gallery: nir}", f"data.shards={shards.root}")
    found = trained(configure(*MEAN_WITH_TEXT, *fields), tmp_path / "run").calibration
    assert found is not None
    assert [p.name for p in found.pairings] == ["rgb->nir", "text->nir", "rgb+text->nir"]
    assert set(found.lacking) == {"nir", "rgb+nir+text->nir", "rgb+nir->nir", "nir+text->nir"}
    assert "0 identities" in found.lacking["nir"]


def test_few_rows_are_whole_identities(configure: Configure, shards: ShardSet) -> None:
    config = configure("train.val.fraction=0.9")
    labels = LabelMap((("tiny", 0),), (2, 5, 6))
    model = build_model(config.model, model_context(config, labels)).eval()
    validator = Validator(
        shards,
        [("tiny", n) for n in range(1, 8)],
        Collator(config.data, labels.camera_labels),
        get_protocol("cross_camera"),
    )
    found = calibration_of(config, shards, validator, model, torch.device("cpu"), rows=11)
    assert isinstance(found, Calibration)
    assert found.identities == 3
    assert found.pairings[0].positive_pairs == 9


def test_pairings_of_the_regimes(configure: Configure) -> None:
    def names(model: ReIDModel, most: int | None = None) -> list[str]:
        return [p.name for p in calibrated_pairings(model, {RGB, NIR, TEXT}, (RGB,), most)]

    matched = new_model(configure())
    assert names(matched) == ["rgb", "nir", "rgb+nir"]
    matched.completes = True
    assert names(matched) == ["rgb", "rgb->rgb+nir", "nir", "nir->rgb+nir", "rgb+nir"]
    anything = new_model(configure(*MEAN_WITH_TEXT))
    assert names(anything, 4) == ["rgb", "nir->rgb", "text->rgb", "rgb+nir+text->rgb"]
    assert [subset_name(p.query_used) for p in calibrated_pairings(anything, {TEXT}, (RGB,))] == ["text"]


def test_the_way_of_calibrating_names_a_run(configure: Configure) -> None:
    name = run_fingerprint(configure(), "data")
    assert run_fingerprint(configure("train.val.calibrator=isotonic"), "data") != name


def test_a_search_trial_is_not_calibrated(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("calibrated for nothing")

    monkeypatch.setattr("reid.train.finishing.calibration_of", never)
    train(configure(*HALF), str(tmp_path / "run"), finish=False)


def test_folders_of_earlier_versions_have_none(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=0"), str(tmp_path / "run"))
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    del info["calibration"], info["uncalibrated"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    folder = RunFolder.open(str(tmp_path / "run"))
    assert folder.calibration() is None
    assert "before calibration" in folder.why_uncalibrated
