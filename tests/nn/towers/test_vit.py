"""Vision transformers cut before the last block: torchvision's, and CLIP's tower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from reid.errors import ConfigError
from reid.nn.towers import vit
from reid.nn.towers.clip import ImageTower, ImageTowerConfig
from reid.nn.towers.vit import LastBlock, TowerTrunk, ViTTrunk

NONE = torch.zeros(0, 3, 32, 32)
TOWER = ImageTowerConfig(arch=None, patch=8, width=32, layers=3, heads=2, dim=16)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ViT-B/16 of two blocks and 32 channels."""
    monkeypatch.setitem(vit.SIZES, "vit_b_16", (2, 2, 32))


def finished(trunk: ViTTrunk | TowerTrunk, last: nn.Module, pool: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = pool(last(trunk(x[:1], x[1:])))
    return out


def test_with_torchvisions_weights_it_computes_torchvisions_class_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = VisionTransformer(32, 16, 2, 2, 32, 128, num_classes=7).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    trunk = ViTTrunk("vit_b_16", 32, 32).eval()
    lasts, pool = (
        [trunk.take_last().eval(), ViTTrunk("vit_b_16", 32, 32).take_last().eval()],
        trunk.take_pool(),
    )
    trunk.load(str(tmp_path / "w.pth"), lasts, pool)
    model.heads = nn.Identity()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        for last in lasts:
            assert torch.allclose(finished(trunk, last, pool, x), model(x), atol=1e-5)
    count = sum(p.numel() for m in (trunk, lasts[0], pool) for p in m.parameters())
    assert count == sum(p.numel() for p in model.parameters())


def test_positions_are_resized_to_a_rectangle(tmp_path: Path) -> None:
    torch.save(VisionTransformer(64, 16, 2, 2, 32, 128).state_dict(), tmp_path / "w.pth")
    trunk = ViTTrunk("vit_b_16", 64, 32)
    trunk.load(str(tmp_path / "w.pth"), [trunk.take_last()], trunk.take_pool())
    assert trunk(torch.zeros(1, 3, 64, 32), torch.zeros(0, 3, 64, 32)).shape == (1, 9, 32)
    with pytest.raises(ConfigError, match="no multiple of vit_b_16's patch of 16"):
        ViTTrunk("vit_b_16", 60, 32)


def test_clips_tower_in_parts_is_clips_tower() -> None:
    trunk, whole = TowerTrunk(TOWER, 32, 32).eval(), ImageTower(TOWER, 32, 32).eval()
    whole.load_state_dict(trunk.tower.state_dict())
    last, pool = trunk.take_last(), trunk.take_pool()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(finished(trunk, last, pool, x), whole.class_feature(x), atol=1e-6)


def test_clips_tower_is_filled_with_all_copies_of_its_last_block(tmp_path: Path) -> None:
    whole = ImageTower(TOWER, 32, 32).eval()
    torch.save({f"visual.{k}": v for k, v in whole.visual.state_dict().items()}, tmp_path / "w.pt")
    trunk = TowerTrunk(TOWER, 32, 32).eval()
    lasts, pool = [trunk.take_last(), TowerTrunk(TOWER, 32, 32).take_last()], trunk.take_pool()
    trunk.load(str(tmp_path / "w.pt"), lasts, pool)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for last in lasts:
            assert torch.allclose(finished(trunk, last, pool, x), whole.class_feature(x), atol=1e-6)
    assert len(trunk.tower.blocks) == 2
    assert set(pool.state_dict()) == {"norm.weight", "norm.bias", "projection"}


@pytest.mark.parametrize("kind", ["torchvision", "clip"])
def test_computing_all_tokens_of_the_last_block_changes_nothing(kind: str) -> None:
    trunk = TowerTrunk(TOWER, 32, 32) if kind == "clip" else ViTTrunk("vit_b_16", 32, 32)
    last = trunk.eval().take_last().eval()
    assert isinstance(last, LastBlock)
    tokens = trunk(torch.randn(2, 3, 32, 32), NONE)
    short = last(tokens)
    last.whole = True
    assert short.shape == (2, 32, 1, 1)
    assert torch.allclose(last(tokens), short, atol=1e-6)
