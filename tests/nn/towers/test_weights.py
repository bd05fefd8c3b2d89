"""Weights come from where they are said to come from, or there is an error that says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reid.config import load
from reid.errors import WeightsError
from reid.models.registry import build_model
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig, resize_positions
from reid.nn.towers.weights import load_tower_weights
from reid.runs.folder import write_run
from reid.runs.identities import LabelMap
from reid.runs.run import model_context
from reid.storage.checkpoints import CACHE_ENV, read_state

IMAGE = ImageTowerConfig(arch=None, patch=8, width=32, layers=1, heads=2, dim=16)
TEXT = TextTowerConfig(width=16, layers=1, heads=1, vocab=64)


def towers(height: int = 32, width: int = 16) -> tuple[ImageTower, TextTower]:
    return ImageTower(IMAGE, height, width), TextTower(TEXT, IMAGE.dim)


def clip_state() -> dict[str, Tensor]:
    """What open_clip would store for a CLIP of these sizes, trained on 32 x 32 images."""
    torch.manual_seed(7)
    image, text = towers(32, 32)
    state = {f"visual.{k}": v for k, v in image.visual.state_dict().items()}
    return state | dict(text.text.state_dict()) | {"logit_scale": torch.tensor(4.6)}


def check_filled(image: ImageTower, text: TextTower | None) -> None:
    """Every tensor is the checkpoint's; positions are resized."""
    state = clip_state()
    for name, tensor in image.visual.state_dict().items():
        wanted = state[f"visual.{name}"]
        if name == "positional_embedding":
            wanted = resize_positions(wanted, image.grid)
        assert torch.equal(tensor, wanted), name
    for name, tensor in text.text.state_dict().items() if text else ():
        assert torch.equal(tensor, state[name]), name


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty Hugging Face cache, and an error in the face of whoever opens a connection."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv(CACHE_ENV, raising=False)


def test_random_leaves_the_initialisation_alone() -> None:
    image, text = towers()
    before = [p.detach().clone() for p in [*image.parameters(), *text.parameters()]]
    load_tower_weights("random", image, text, None)
    after = [*image.parameters(), *text.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
def test_a_path_fills_both_towers(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"clip{suffix}"
    if suffix == ".safetensors":
        save_file(clip_state(), file)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in clip_state().items()}, "epoch": 3}, file)
    image, text = towers()
    load_tower_weights(str(file), image, text, None)
    check_filled(image, text)


def test_a_file_in_the_current_folder_is_a_path_and_no_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(clip_state(), tmp_path / "clip.pth")
    monkeypatch.chdir(tmp_path)
    image, _ = towers()
    load_tower_weights("clip.pth", image, None, "ViT-B-16")
    check_filled(image, None)


def test_half_precision_checkpoints_are_read_as_float32(tmp_path: Path) -> None:
    save_file({k: v.half() for k, v in clip_state().items()}, tmp_path / "half.safetensors")
    image, text = towers()
    load_tower_weights(str(tmp_path / "half.safetensors"), image, text, None)
    assert {p.dtype for p in image.parameters()} == {torch.float32}
    assert torch.allclose(image.visual.proj, clip_state()["visual.proj"], atol=1e-3)


def test_a_pickled_model_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (trap,)

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    for name in ("trap.pt", "module.pt"):
        with pytest.raises(WeightsError, match=r"not a plain state dict.*save `model.state_dict\(\)`"):
            read_state(str(tmp_path / name))
    assert not trap.exists()


def test_a_file_that_holds_no_state_dict_is_an_error_that_names_it(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(
        WeightsError, match=r"tensor\.pt: not a plain state dict, but a single tensor of shape \(3,\)"
    ):
        read_state(str(tmp_path / "tensor.pt"))
    with pytest.raises(WeightsError, match=r"cut\.safetensors: cut short"):
        read_state(str(tmp_path / "cut.safetensors"))


def test_a_tag_is_looked_up_in_the_named_weights_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (tmp_path / "weights" / "ViT-B-16").mkdir(parents=True)
    save_file(clip_state(), tmp_path / "weights" / "ViT-B-16" / "openai.safetensors")
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "weights"))
    image, text = towers()
    load_tower_weights("openai", image, text, "ViT-B-16")
    check_filled(image, text)


@pytest.mark.usefixtures("no_network")
def test_a_missing_tag_names_three_remedies_and_downloads_nothing() -> None:
    image, _ = towers()
    with pytest.raises(WeightsError) as caught:
        load_tower_weights("openai", image, None, "ViT-B-16-quickgelu")
    message = str(caught.value)
    for remedy in (
        f"{CACHE_ENV} as ViT-B-16-quickgelu/openai.safetensors",
        "local .safetensors path",
        "s3://",
    ):
        assert remedy in message
    assert "model.weights=random" in message


@pytest.mark.usefixtures("no_network")
def test_an_unknown_tag_lists_the_known_ones() -> None:
    image, _ = towers()
    with pytest.raises(WeightsError, match=r"no open_clip tag 'opnai'\. Known: .*openai"):
        load_tower_weights("opnai", image, None, "ViT-B-16-quickgelu")


def test_a_missing_file_names_the_remedies(tmp_path: Path) -> None:
    image, _ = towers()
    with pytest.raises(WeightsError, match=r"gone\.safetensors: no such weights file.*Three ways"):
        load_tower_weights(str(tmp_path / "gone.safetensors"), image, None, None)


def test_a_tag_needs_an_architecture() -> None:
    image, _ = towers()
    with pytest.raises(WeightsError, match=r"model\.tower\.arch"):
        load_tower_weights("openai", image, None, None)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    state = clip_state()
    state["visual.proj"] = torch.zeros(32, 24)
    save_file(state, tmp_path / "other.safetensors")
    image, _ = towers()
    with pytest.raises(
        WeightsError, match=r"tensor 'proj' of the image tower is \(32, 24\), the model has \(32, 16\)"
    ):
        load_tower_weights(str(tmp_path / "other.safetensors"), image, None, None)


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    state = clip_state()
    del state["visual.proj"], state["ln_final.weight"]
    save_file(state, tmp_path / "less.safetensors")
    image, text = towers()
    with pytest.raises(WeightsError, match="image tower lacks 1 tensors, first 'proj'"):
        load_tower_weights(str(tmp_path / "less.safetensors"), image, text, None)
    with pytest.raises(WeightsError, match=r"text tower lacks 1 tensors, first 'ln_final\.weight'"):
        load_tower_weights(str(tmp_path / "less.safetensors"), None, text, None)


def run_of(tmp_path: Path, patch: int, tower: dict[str, object]) -> str:
    """A finished run of a rectangular image tower and a text tower."""
    config = load(
        {
            "name": "source",
            "data": {
                "name": "x",
                "reader": {"name": "synthetic"},
                "modalities": "rgb+text",
                "height": 4 * patch,
                "width": 2 * patch,
            },
            "model": {"name": "baseline", "fusion": "mean", "tower": tower, "text": TEXT.model_dump()},
        }
    )
    labels = LabelMap((("x", 0), ("x", 1)), (0,))
    torch.manual_seed(3)
    model = build_model(config.model, model_context(config, labels))
    uri = str(tmp_path / "runs" / "source")
    write_run(uri, config, model, labels, {"status": "finished"})
    return uri


def test_a_run_fills_the_towers_of_another_model(tmp_path: Path) -> None:
    uri = run_of(tmp_path, 8, IMAGE.model_dump())
    state = read_state(f"{uri}/weights.safetensors")
    image, text = towers(16, 48)
    load_tower_weights(f"run:{uri}", image, text, None)
    table = state["image_tower.visual.positional_embedding"]
    assert torch.equal(image.visual.positional_embedding, resize_positions(table, (2, 6), (4, 2)))
    assert torch.equal(image.visual.proj, state["image_tower.visual.proj"])
    assert torch.equal(text.text.text_projection, state["text_tower.text.text_projection"])


def test_the_grid_of_a_run_follows_from_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `arch` given, the field `patch` says nothing: ViT-B-32's is 32."""
    named = {"embed_dim": 16, "vision_cfg": {"patch_size": 32, "width": 32, "layers": 1, "head_width": 16}}
    monkeypatch.setattr("reid.nn.towers.clip._open_clip_config", lambda arch: named)
    uri = run_of(tmp_path, 32, {"arch": "ViT-tiny-32"})
    image = ImageTower(ImageTowerConfig(arch="ViT-tiny-32"), 64, 96)
    load_tower_weights(f"run:{uri}", image, None, None)
    assert image.visual.positional_embedding.shape == (1 + 2 * 3, 32)


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    image, _ = towers()
    with pytest.raises(WeightsError, match="no finished run"):
        load_tower_weights(f"run:{tmp_path / 'none'}", image, None, None)
