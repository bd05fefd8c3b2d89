"""Training a translator on aligned pairs, and the generator that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from reid.config import GenerateConfig
from reid.config.sections.translate import TranslateConfig, UNetConfig
from reid.data.images import Pixels, encode_png
from reid.data.shards.schema import Image, Labels, Sample
from reid.errors import ConfigError, DataError, WeightsError
from reid.generate.infrared.unet import IrUnet
from reid.generate.registry import GeneratorInput, bind
from reid.modality import Modality, Target
from reid.nn.unet import UNet, save_unet
from reid.train.translator.aligned_pairs import read_pairs, stack
from reid.train.translator.training import load_translate, train_translator
from tests.support.sets.shards import make_shards

SIZE = (32, 16)


def scene(rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Coloured boxes, and their infrared: red is bright there, blue is dark, whatever their grey is."""
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[:] = rng.integers(0, 256, 3)
    for _ in range(3):
        y, x = rng.integers(0, 24), rng.integers(0, 10)
        rgb[y : y + 8, x : x + 6] = rng.integers(0, 256, 3)
    red, blue = rgb[..., 0].astype(float), rgb[..., 2].astype(float)
    return rgb, np.clip(128 + (red - blue) / 2, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 aligned pairs, and a picture without a partner."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for name in ("rgb", "nir"):
        (root / name / "a").mkdir(parents=True)
    for i in range(40):
        rgb, nir = scene(rng)
        (root / "rgb" / "a" / f"{i}.png").write_bytes(encode_png(rgb))
        (root / "nir" / "a" / f"{i}.png").write_bytes(encode_png(nir))
    (root / "rgb" / "alone.png").write_bytes(encode_png(rgb))
    return root


def config(folder: Path, out: Path, **changed: Any) -> TranslateConfig:
    values: dict[str, Any] = {
        "pairs": str(folder),
        "out": str(out),
        "height": SIZE[0],
        "width": SIZE[1],
        "unet": {"width": 12, "depth": 3},
        "epochs": 8,
        "decay_epochs": 3,
        "batch_size": 4,
        "lr": 4e-3,
        "adversarial": False,
        "holdout": 0.1,
    }
    return TranslateConfig.model_validate(values | changed)


def test_it_learns_what_the_grey_picture_does_not_know(folder: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    metrics = train_translator(config(folder, tmp_path), lambda m: seen.append(m["epoch"]))
    assert seen == list(range(1, 12))
    assert metrics[-1]["l1"] < 0.5 * metrics[0]["l1"]
    assert metrics[-1]["val_l1"] < 0.5 * metrics[-1]["grey_l1"]

    # The generator makes such pictures of photos that it never saw.
    params: dict[str, Any] = {"weights": str(tmp_path / "translator.safetensors")}
    load = bind(Target.NIR, GenerateConfig(generator="ir_unet", params=params)).load()
    pairs = [scene(np.random.default_rng(100 + i)) for i in range(5)]
    sources = [GeneratorInput("x", {Modality.RGB: rgb}, None, np.random.default_rng(0)) for rgb, _ in pairs]
    made = [np.asarray(m) for m in load(sources)]
    error = np.mean([np.abs(m.astype(float) - nir).mean() for m, (_, nir) in zip(made, pairs, strict=True)])
    grey = np.mean([np.abs(rgb.mean(2) - nir).mean() for rgb, nir in pairs])
    assert all(m.shape == SIZE and m.dtype == np.uint8 for m in made)
    assert error < 0.6 * grey


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    folder: Path, tmp_path: Path, adversarial: bool
) -> None:
    small = {"epochs": 2, "decay_epochs": 2, "checkpoint_every": 1, "batch_size": 16}
    small |= {"adversarial": adversarial, "unet": {"width": 2, "depth": 2, "dropout": 0.5}}
    whole = train_translator(config(folder, tmp_path / "whole", **small))

    class Stop(Exception):
        pass

    def stop(metrics: dict[str, float]) -> None:
        if metrics["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        train_translator(config(folder, tmp_path / "cut", **small), stop)
    again: list[float] = []
    resumed = train_translator(config(folder, tmp_path / "cut", **small), lambda m: again.append(m["epoch"]))
    assert again == [3, 4]
    assert resumed == whole
    first, second = (load_file(tmp_path / n / "translator.safetensors") for n in ("whole", "cut"))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    small = {"epochs": 1, "decay_epochs": 0, "unet": {"width": 2, "depth": 2}}
    done = train_translator(config(folder, tmp_path, **small))
    assert train_translator(config(folder, tmp_path, **small), lambda _: pytest.fail("trained")) == done
    with pytest.raises(ConfigError, match="other settings or pairs"):
        train_translator(config(folder, tmp_path, **small, l1=1.0))


# Pairs


def test_pairs_of_a_folder_are_those_of_equal_names(folder: Path) -> None:
    pairs = read_pairs(str(folder), Modality.RGB, Modality.NIR)
    assert len(pairs) == 40
    sources, targets = stack(pairs[:2], *SIZE)
    mirrored = stack(pairs[:2], *SIZE, [True, False])
    assert sources.shape == targets.shape == (2, *SIZE, 3)
    assert np.array_equal(mirrored[0][0], sources[0][:, ::-1])
    assert np.array_equal(mirrored[1][0], targets[0][:, ::-1])
    assert np.array_equal(mirrored[1][1], targets[1])


def test_pairs_of_a_shard_set_are_captured_ones_of_the_split(tmp_path: Path) -> None:
    def sample(number: int, split: str, origin: str) -> Sample:
        rgb, nir = (encode_png(p) for p in scene(np.random.default_rng(number)))
        images = {
            Modality.RGB: Image(rgb, SIZE[1], SIZE[0]),
            Modality.NIR: Image(nir, SIZE[1], SIZE[0], origin=origin),
        }
        return Sample(Labels(f"s{number}", "toy", split, number), images)

    train = [sample(0, "train", "captured"), sample(1, "train", "generated")]
    make_shards(tmp_path, [train, [sample(2, "test", "captured")]])
    assert [p.name for p in read_pairs(str(tmp_path), Modality.RGB, Modality.NIR)] == ["s0"]


def test_a_folder_without_pairs_says_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no capture has both rgb and tir"):
        read_pairs(str(folder), Modality.RGB, Modality.TIR)
    with pytest.raises(DataError, match="neither a shard set nor a folder"):
        read_pairs(str(tmp_path / "nowhere"), Modality.RGB, Modality.TIR)


# Configuration and verb


def test_the_configuration_comes_from_a_file_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("pairs: x\nout: y\nunet: {width: 8}\n")
    loaded = load_translate(str(file), ["unet.depth=4", "target=tir"])
    assert (loaded.unet.width, loaded.unet.depth, loaded.target) == (8, 4, Modality.TIR)
    with pytest.raises(ConfigError, match=r"unet\.dept: unknown key\. Did you mean 'depth'"):
        load_translate(str(file), ["unet.dept=4"])


def test_the_verb_trains_and_says_how_to_use_the_result(folder: Path, tmp_path: Path) -> None:
    import typer

    from jobs.translate import translate

    app = typer.Typer()
    app.command()(translate)
    words = [f"pairs={folder}", f"out={tmp_path}", "height=32", "width=16", "unet.width=2", "unet.depth=2"]
    result = CliRunner().invoke(app, [*words, "epochs=1", "decay_epochs=1"])
    assert result.exit_code == 0, result.output
    assert "generator=ir_unet" in result.output and "2 epochs" in result.output
    assert (tmp_path / "translator.safetensors").is_file()


# The generator


def unet_file(path: Path, **notes: str) -> str:
    torch.manual_seed(0)
    save_unet(str(path), UNet(UNetConfig(width=2, depth=2)), notes)
    return str(path)


def test_pictures_of_any_sizes_come_back_in_their_own_size_and_order(tmp_path: Path) -> None:
    weights = unet_file(tmp_path / "x.safetensors", source="rgb", height="16", width="8")
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in [(33, 17), (16, 8), (33, 17)]]
    sources = [GeneratorInput("x", {Modality.RGB: p}, None, rng) for p in pictures]
    for at in ("trained", "own"):
        maker = IrUnet(weights=weights, at=at)  # type: ignore[arg-type]
        for source, picture, made in zip(sources, pictures, maker(sources), strict=True):
            assert np.asarray(made).shape == picture.shape[:2]
            (alone,) = maker([source])
            assert np.abs(np.asarray(made).astype(int) - np.asarray(alone)).max() <= 1


def test_a_missing_or_foreign_translator_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"\(1\).*\(2\).*\(3\)"):
        IrUnet(weights="nowhere.safetensors")
    with pytest.raises(WeightsError, match="not a translator from rgb"):
        IrUnet(weights=unet_file(tmp_path / "x.safetensors", source="nir"))
    with pytest.raises(WeightsError, match=r"params\.at=own"):
        IrUnet(weights=unet_file(tmp_path / "x.safetensors", source="rgb"))
