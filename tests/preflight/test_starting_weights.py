"""Weights that a training cannot start from are refused before any worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reid.config import Config, override
from reid.errors import TrainingError, WeightsError
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.preflight.starting_weights import check_starting_weights
from reid.preflight.training import check_settings
from reid.runs.run import model_context
from reid.runs.untrained import untrained_model
from reid.storage import checkpoints
from tests.support.world import World

PLAIN = {"model.modality_embedding": False}


def clip_file(world: World, path: Path, width: int = 32) -> str:
    """A file as open_clip writes it, of the tower sizes of the world's model or of another width."""
    tower = world.config.model.tower.model_copy(update={"width": width})  # type: ignore[attr-defined]
    square = {"data.height": 16, "data.width": 16}  # as CLIP is trained
    config = override(world.config, {"model.tower": tower.model_dump(), **PLAIN, **square})
    model: ReIDModel = build_model(config.model, model_context(config, world.run.labels))
    state = {k.replace("image_tower.visual.", "visual."): v for k, v in model.state_dict().items()}
    state = {k.removeprefix("text_tower.text."): v for k, v in state.items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return str(path)


def settings(world: World, **values: object) -> Config:
    return override(world.config, PLAIN | {k.replace("__", "."): v for k, v in values.items()})


def test_a_file_that_fits_passes_and_is_read_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(world, model__weights=clip_file(world, tmp_path / "clip.pt"))
    read: list[str] = []
    opened = checkpoints.read_tree
    monkeypatch.setattr(
        checkpoints, "read_tree", lambda uri, data=None: (read.append(uri), opened(uri, data))[1]
    )
    for seed in (1, 2, 3):
        check_settings(override(config, {"seed": seed}))
    assert len(read) == 1


Broken = Callable[[World, Path], object]
BROKEN: dict[str, tuple[Broken, str]] = {
    "page": (lambda world, path: path.write_text("<html><title>Sign in</title>"), r"clip\.pt: an HTML page"),
    "cut": (
        lambda world, path: path.write_bytes(Path(clip_file(world, path)).read_bytes()[:-900]),
        r"clip\.pt: cut short",
    ),
    "other sizes": (lambda world, path: clip_file(world, path, width=48), r"clip\.pt.*width 48"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_none_or_does_not_fit_is_refused(kind: str, world: World, tmp_path: Path) -> None:
    make, told = BROKEN[kind]
    make(world, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=told):
        check_settings(settings(world, model__weights=str(tmp_path / "clip.pt")))


def test_weights_that_only_other_machines_have_are_left_to_them(world: World, tmp_path: Path) -> None:
    for spec in ("random", "openai", str(tmp_path / "elsewhere.pt"), "s3://bucket/clip.pt"):
        config = settings(world, model__weights=spec)
        check_starting_weights(config, untrained_model(config))


def test_the_start_of_a_training_is_tried_too(world: World, tmp_path: Path) -> None:
    check_settings(settings(world, train__init_from=str(Path(world.run.uri).parent)))
    with pytest.raises(WeightsError, match="no finished run"):
        check_settings(settings(world, train__init_from=str(tmp_path)))
    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(TrainingError, match=r"nothing in .*other\.pth fits this model; it holds 1 tensors"):
        check_settings(settings(world, train__init_from=str(tmp_path / "other.pth")))
