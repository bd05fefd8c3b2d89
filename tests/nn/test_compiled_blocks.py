"""Blocks through torch.compile: the same outputs and gradients, and the same names of weights."""

from __future__ import annotations

import pytest
import torch

from reid.nn import compiled_blocks
from reid.nn.blockwise import BlockRun, run_blocks
from reid.nn.compiled_blocks import compilable, compiled, try_compiler
from reid.nn.towers.block import run_block
from reid.nn.towers.clip import ImageTower, ImageTowerConfig


def test_only_what_is_marked_is_compiled() -> None:
    def plain() -> None: ...

    assert compiled(plain) is plain
    assert compiled(compilable(lambda x: x)) is not plain
    assert compiled(run_block) is not run_block


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_a_compiled_tower_is_the_tower(recompute: bool) -> None:
    assert try_compiler(torch.device("cpu")) is None
    torch.manual_seed(0)
    tower = ImageTower(ImageTowerConfig(arch=None, patch=8, width=32, layers=3, heads=2, dim=16), 32, 16)
    names, images, found = list(tower.state_dict()), torch.randn(4, 3, 32, 16), []
    for compiles in (False, True):
        tower.zero_grad()
        with run_blocks(BlockRun(recompute=recompute, compiles=compiles)):
            out = tower(images)
            out.square().sum().backward()
        found.append([out.detach(), *(p.grad.clone() for p in tower.parameters() if p.grad is not None)])
    for plain, made in zip(*found, strict=True):
        assert torch.allclose(plain, made, rtol=1e-4, atol=1e-5)
    assert not compiled_blocks._failed, "nothing fell back"
    assert list(tower.state_dict()) == names
