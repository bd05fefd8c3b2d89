"""docs/write-a-generator.md: its function is used by name in a build, and a plain picture is set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from reid.config import Config, GenerateConfig
from reid.data.images import decode_rgb
from reid.errors import ConfigError
from reid.generate import registry as registry_module
from reid.generate.registry import bind, registry
from reid.modality import Modality, Target
from tests.support.pages import added_to, block
from tests.support.sets.photos import build_here, config, photos, rows_of

PAGE = "write-a-generator.md"


@pytest.fixture(autouse=True)
def _levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's file, as if it lay in reid/generate."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry()))
    with added_to("reid.generate", tmp_path / "generate", "levels.py", block(PAGE, "python")):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """Photos, one of them plain, and the page's section."""
    root = photos(tmp_path / "photos", bad=False)
    Image.new("RGB", (32, 32), (90, 90, 90)).save(root / "0_0.jpg")
    section = yaml.safe_load(block(PAGE, "yaml"))["build"]["generate"]
    return config(root, tmp_path / "work", f"build.generate={section}", "build.max_bad_fraction=0.5")


def test_sketches_are_made_and_say_by_what(settings: Config) -> None:
    rows = [s for split in ("train", "test") for s in rows_of(build_here(settings).shards, split)]
    hashed = bind(Target.SKETCH, settings.build.generate[Target.SKETCH]).params_hash
    assert len(rows) == 8
    for row in rows:
        made = row.images[Modality.SKETCH]
        assert (made.origin, made.generator, made.params_hash) == ("generated", "sketch_levels", hashed)
        assert len(set(decode_rgb(made.image, "made").reshape(-1).tolist())) <= 3  # steps: 3


def test_the_plain_picture_is_set_aside_and_no_other(settings: Config) -> None:
    (bad,) = build_here(settings).shards.quarantine()
    assert bad["sample_id"].startswith("0_0") and "nothing to draw" in bad["reason"]


def test_parameters_are_checked_and_are_part_of_the_hash() -> None:
    def bound(**params: object) -> str:
        return bind(Target.SKETCH, GenerateConfig(generator="sketch_levels", params=params)).params_hash

    assert bound() == bound(steps=4) != bound(steps=3)
    with pytest.raises(ConfigError, match=r"build\.generate\.sketch\.params\.steps"):
        bound(steps=1)
    with pytest.raises(ConfigError, match=r"params\.step: unknown key\. Did you mean 'steps'"):
        bound(step=3)
