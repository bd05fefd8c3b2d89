"""The run folder: everything that embedding needs, and an error that helps where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.comparison.calibration import Calibration, LogisticMap, PairCalibration
from reid.config import Config, load
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.images import encode_png
from reid.errors import DataError, WeightsError
from reid.modality import Modality
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.runs.embedding import embed_rows
from reid.runs.folder import RunFolder, write_run
from reid.runs.identities import LabelMap
from reid.runs.metrics.writing import TableWriter
from reid.runs.run import load_run, model_context
from reid.storage.latest import LATEST
from reid.storage.run_files import RUN_FILE

LABELS = LabelMap((("x", 4), ("x", 7), ("y", 4)), (1, 3))
DEVICE = torch.device("cpu")


def config_of(**model: object) -> Config:
    tower = {"arch": None, "patch": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16}
    text = {"width": 16, "layers": 1, "heads": 1}
    return load(
        {
            "name": "tiny",
            "data": {
                "name": "x",
                "reader": {"name": "synthetic"},
                "modalities": "rgb+nir+text",
                "height": 32,
                "width": 16,
            },
            "model": {"name": "baseline", "fusion": "mean", "tower": tower, "text": text, **model},
        }
    )


def model_of(config: Config, seed: int = 0) -> ReIDModel:
    torch.manual_seed(seed)
    return build_model(config.model, model_context(config, LABELS))


def picture(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (40, 20, 3), dtype=np.uint8))


@pytest.fixture
def rows() -> list[BatchRow]:
    """Different subsets, cameras known and unknown."""
    rgb = [RowPart(picture(i), f"rgb-{i}", camid=c) for i, c in enumerate((1, 3, None, 2))]
    nir = RowPart(picture(9), "nir", camid=3)
    text = RowPart("a green bicycle with a basket", "text")
    return [
        BatchRow({Modality.RGB: rgb[0]}),
        BatchRow({Modality.RGB: rgb[1], Modality.NIR: nir}),
        BatchRow({Modality.TEXT: text}),
        BatchRow({Modality.RGB: rgb[2], Modality.TEXT: text}),
        BatchRow({Modality.RGB: rgb[3]}),
    ]


@pytest.fixture
def finished(tmp_path: Path) -> tuple[str, ReIDModel]:
    """A run folder and the model that was written into it."""
    config = config_of()
    model = model_of(config, seed=5).train()
    model.head(torch.randn(8, 16))  # moves the running statistics
    uri = str(tmp_path / "train" / "tiny" / "aaaa")
    table = TableWriter(uri, every_s=0.0)
    for epoch, loss in ((1, 2.5), (2, 1.5)):
        table.row("step", 3 * epoch, epoch - 1, {"loss": loss})
        table.row("epoch", 3 * epoch, epoch, {"loss": loss})
    write_run(uri, config, model, LABELS, {"status": "finished", "steps": 6})
    assert table.end("finished", 6, 2)
    return uri, model


def test_a_loaded_run_embeds_exactly_as_the_model_that_was_written(
    finished: tuple[str, ReIDModel], rows: list[BatchRow]
) -> None:
    uri, model = finished
    run = load_run(uri)
    expected = embed_rows(model, run.collator, rows, "query", 64, DEVICE)
    assert np.array_equal(run.embed_rows(rows, "query"), expected)
    assert np.allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    assert not run.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor), name


def test_a_run_folder_gives_back_what_was_written(finished: tuple[str, ReIDModel]) -> None:
    uri, model = finished
    folder = RunFolder.open(uri)
    assert folder.config == config_of()
    assert folder.labels() == LABELS
    assert [(row["epoch"], row["loss"]) for row in folder.metrics()] == [(1, 2.5), (2, 1.5)]
    assert (folder.info["status"], folder.info["steps"]) == ("finished", 6)
    assert (folder.info["dim"], folder.info["regime"]) == (model.dim, "any_to_any")
    environment = json.loads(Path(uri, "environment.json").read_text())
    assert environment["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_metrics_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    config = config_of()
    folder = write_run(str(tmp_path), config, model_of(config, 1), LABELS, {})
    assert folder.metrics() == []
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "loss": 2.5}\n{"epoch": 2, "loss": 1.5}\n')
    assert folder.metrics() == [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.5}]


def test_the_fingerprint_names_the_weights(tmp_path: Path) -> None:
    config = config_of()
    prints = [
        write_run(str(tmp_path / name), config, model_of(config, seed), LABELS, {}).fingerprint
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert prints[0] == prints[1] != prints[2]


CALIBRATION = Calibration(
    data_fingerprint="data",
    protocol="cross_camera",
    identities=9,
    pairings=(
        PairCalibration(
            query="text",
            gallery="rgb",
            map=LogisticMap(slope=12.5, intercept=-3),
            floor=-2,
            ceiling=4,
            identities=9,
            positive_pairs=30,
            negative_pairs=200,
            queries=20,
            gallery_items=10,
        ),
    ),
)


def test_a_calibration_is_stored_with_the_fingerprint_of_the_weights(tmp_path: Path) -> None:
    config = config_of()
    folder = write_run(str(tmp_path / "a"), config, model_of(config), LABELS, {}, CALIBRATION)
    assert (folder.info["calibration"], folder.info["uncalibrated"]) == ("calibration.json", None)
    run = load_run(folder.uri)
    assert run.calibration == CALIBRATION.model_copy(update={"model_fingerprint": folder.fingerprint})
    anew = write_run(folder.uri, config, model_of(config, 1), LABELS, {}, "nobody asked")
    assert load_run(folder.uri).calibration is None  # although the file of the other weights is still there
    assert (anew.info["calibration"], anew.why_uncalibrated) == (None, "nobody asked")


def test_a_calibration_of_other_weights_or_unknown_content_is_refused(tmp_path: Path) -> None:
    config = config_of()
    folder = write_run(str(tmp_path / "a"), config, model_of(config), LABELS, {}, CALIBRATION)
    other = write_run(str(tmp_path / "b"), config, model_of(config, 1), LABELS, {}, CALIBRATION)
    place = Path(folder.uri, "calibration.json")
    place.write_bytes(Path(other.uri, "calibration.json").read_bytes())
    with pytest.raises(WeightsError, match=rf"{other.fingerprint}, but the weights are {folder.fingerprint}"):
        assert load_run(folder.uri).calibration
    place.write_text('{"scale": 2}')
    with pytest.raises(WeightsError, match=r"(?s)calibration\.json: not a calibration .*scale: unknown key"):
        assert load_run(folder.uri).calibration


def test_a_folder_of_runs_opens_its_latest_one(finished: tuple[str, ReIDModel]) -> None:
    uri, _ = finished
    parent = Path(uri).parent
    assert RunFolder.open(str(parent)).uri == uri
    config = config_of()
    write_run(str(parent / "bbbb"), config, model_of(config, 1), LABELS, {})
    assert (parent / LATEST).read_text() == "bbbb"
    assert RunFolder.open(str(parent)).uri == str(parent / "bbbb")
    assert RunFolder.open(uri).uri == uri


def test_an_unfinished_run_is_not_a_run(finished: tuple[str, ReIDModel]) -> None:
    uri, _ = finished
    Path(uri, RUN_FILE).unlink()
    for place in (uri, str(Path(uri).parent)):
        with pytest.raises(WeightsError, match=r"no finished run here \(no run\.json\)"):
            load_run(place)


def test_a_wrong_path_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: no finished run.*jobs\.train.*`run=`"):
        load_run(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: data[:-8], r"cut short: [\d,]+ of [\d,]+ bytes"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (lambda data: b"", "an empty file"),
        (lambda data: data[:-4] + b"\xff\xff\xff\xff", "1 of .* tensors hold NaN"),
    ],
)
def test_weights_that_are_not_whole_are_told_as_what_they_are(
    spoil: Callable[[bytes], bytes], told: str, finished: tuple[str, ReIDModel]
) -> None:
    uri, _ = finished
    file = Path(uri, "weights.safetensors")
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(WeightsError, match=rf"weights\.safetensors: {told}"):
        load_run(uri)


def test_weights_that_do_not_fit_their_own_config_are_an_error(finished: tuple[str, ReIDModel]) -> None:
    uri, _ = finished
    labels = LabelMap((*LABELS.classes, ("z", 1)), LABELS.cameras)
    Path(uri, "labels.parquet").write_bytes(labels.to_parquet())
    with pytest.raises(WeightsError, match=r"(?s)weights do not fit.*head\.classifier\.weight"):
        load_run(uri)


def test_the_batch_size_of_embedding_changes_nothing(
    finished: tuple[str, ReIDModel], rows: list[BatchRow]
) -> None:
    run = load_run(finished[0])
    whole = run.embed_rows(rows, "gallery")
    assert np.allclose(run.embed_rows(rows, "gallery", batch_size=2), whole, atol=1e-6)
    assert run.embed_rows([], "gallery").shape == (0, run.model.dim)


def test_plain_contents_are_embedded_as_from_an_unknown_camera(
    finished: tuple[str, ReIDModel], rows: list[BatchRow]
) -> None:
    run = load_run(finished[0])
    with torch.no_grad():
        run.model.get_parameter("class_bias.camera").mul_(50)
    found = run.embed([{Modality.RGB: picture(0)}, {Modality.TEXT: "a green bicycle with a basket"}], "query")
    unknown = BatchRow({Modality.RGB: RowPart(picture(0), "rgb")})
    assert np.allclose(found[0], run.embed_rows([unknown], "query")[0], atol=1e-6)
    assert np.allclose(found[1], run.embed_rows(rows[2:3], "query")[0], atol=1e-6)
    assert not np.allclose(found[0], run.embed_rows(rows[:1], "query")[0], atol=1e-3)


def test_a_camera_outside_training_counts_as_unknown(
    finished: tuple[str, ReIDModel], rows: list[BatchRow]
) -> None:
    run = load_run(finished[0])
    stranger = BatchRow({Modality.RGB: RowPart(picture(0), "rgb", camid=77)})
    unknown = BatchRow({Modality.RGB: RowPart(picture(0), "rgb")})
    assert np.array_equal(run.embed_rows([stranger], "query"), run.embed_rows([unknown], "query"))


def test_a_picture_that_cannot_be_decoded_is_named(finished: tuple[str, ReIDModel]) -> None:
    run = load_run(finished[0])
    with pytest.raises(DataError, match="Row 0, nir: not an image"):
        run.embed([{Modality.RGB: picture(0), Modality.NIR: b"no picture at all"}], "query")


def test_embedding_leaves_a_model_in_training_in_training(
    finished: tuple[str, ReIDModel], rows: list[BatchRow]
) -> None:
    uri, model = finished
    statistics = model.state_dict()["head.norm.running_mean"].clone()
    embed_rows(model, load_run(uri).collator, rows, "query", 64, DEVICE)
    assert model.training
    assert torch.equal(model.state_dict()["head.norm.running_mean"], statistics)
