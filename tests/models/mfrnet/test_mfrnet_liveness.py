"""MFRNet's experts live: fifty steps on rendered people use, move and tell apart every one of them.

Public MFRNet had one set of weights for all experts of a mixture, zeroed when CLIP was loaded; all but their
last bias then stayed zero. No published number speaks for live experts, so this is shown here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import UNKNOWN, Batch
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.modality import CAMERA, ORDER
from reid.models.base import ModelContext
from reid.models.mfrnet.model import Config, Model
from reid.nn.moe.experts import BottleneckExperts
from reid.nn.moe.layer import MoE

HEIGHT, WIDTH, PEOPLE, SEEN, STEPS = 32, 16, 6, 4, 50
PARTS = ("down", "down_bias", "up", "up_bias")


@pytest.fixture(scope="module")
def pictures() -> Batch:
    """Rendered people: PEOPLE x SEEN captures by three aligned cameras, one row each."""
    config = SyntheticConfig(height=HEIGHT, width=WIDTH, difficulty=0.3, num_cameras=SEEN)
    captures = [
        render_capture(config, make_identity(config, pid), camid, 0)
        for pid in range(PEOPLE)
        for camid in range(SEEN)
    ]
    images = {}
    for modality in CAMERA:
        seen = np.stack([getattr(c, modality.value) for c in captures]).astype(np.float32) / 127.5 - 1
        grid = torch.from_numpy(seen)
        images[modality] = (grid if grid.ndim == 4 else grid[..., None].expand(-1, -1, -1, 3)).permute(
            0, 3, 1, 2
        )
    n = len(captures)
    present = torch.tensor([[m in CAMERA for m in ORDER]] * n)
    camid = torch.tensor([[c.camid] * len(ORDER) for c in captures])
    return Batch(
        pid=torch.arange(PEOPLE).repeat_interleave(SEEN),
        present=present,
        camid=torch.where(present, camid, UNKNOWN),
        viewid=torch.full(present.shape, UNKNOWN),
        images=images,
        index={m: torch.arange(n) for m in CAMERA},
    )


@dataclass
class Trained:
    """A model after STEPS steps, and what happened on the way."""

    model: Model
    before: dict[str, Tensor]
    used: Counter[str]
    losses: list[float]

    def mixtures(self) -> dict[str, BottleneckExperts]:
        """Path -> experts of every mixture."""
        named = {n: m.experts for n, m in self.model.named_modules() if isinstance(m, MoE)}
        assert len(named) == 3
        return {n: e for n, e in named.items() if isinstance(e, BottleneckExperts)}

    def moved(self, name: str) -> Tensor:
        """By how much a tensor changed, elementwise."""
        return (self.model.get_parameter(name).detach() - self.before[name]).abs()


def trained(batch: Batch, **mixture: Any) -> Trained:
    """Fifty Adam steps without weight decay: nothing moves without a gradient."""
    torch.manual_seed(1)
    tower = {"arch": None, "patch": 8, "width": 48, "layers": 2, "heads": 3, "dim": 32}
    router = {"score": "cosine", "noise": 1.0, "dim": 16}
    ffm = {"hidden": 48, "router": router, **mixture}
    frm = {"hidden": 24, "router": {**router, "init": "normal"}, **mixture}
    config = check(Config, {"tower": tower, "ffm": ffm, "frm": frm, "id_weight": 1.0}, "model")
    model = Model(config, ModelContext(PEOPLE, SEEN, HEIGHT, WIDTH, CAMERA)).train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    used: Counter[str] = Counter()
    losses = []
    for _ in range(STEPS):
        output = model(batch)
        loss = torch.stack(list(output.losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        for name, value in output.stats.items():
            mixture_name, _, rest = name.partition("/tokens/")
            if rest:
                used[f"{mixture_name}/{rest.split('/')[1]}"] += int(value)
    return Trained(model, before, used, losses)


@pytest.fixture(scope="module")
def live(pictures: Batch) -> Trained:
    return trained(pictures)


@pytest.fixture(scope="module")
def dead(pictures: Batch) -> Trained:
    return trained(pictures, init="dead", shared=True)


def test_the_rendered_people_are_learned(live: Trained) -> None:
    assert sum(live.losses[-5:]) < 0.8 * sum(live.losses[:5])


def test_every_expert_of_every_mixture_is_used(live: Trained) -> None:
    wanted = {f"ffm{g}/{e}" for g in range(2) for e in range(3)} | {f"frm1/{e}" for e in range(6)}
    assert set(live.used) == wanted
    tokens = PEOPLE * SEEN * 9 * 3 * STEPS
    for name in ("ffm0", "ffm1", "frm1"):
        counts = [n for key, n in live.used.items() if key.startswith(name)]
        assert sum(counts) == tokens
        assert min(counts) > 0.05 * tokens / len(counts), (name, counts)


def test_every_expert_has_moved_in_all_its_parts(live: Trained) -> None:
    for path, experts in live.mixtures().items():
        for part in PARTS:
            moved = live.moved(f"{path}.experts.{part}")
            assert len(moved) == experts.count
            assert (moved.flatten(1).mean(1) > 1e-3).all(), (path, part)


def test_no_two_experts_do_the_same(live: Trained) -> None:
    probe = torch.randn(20, 48)
    for path, experts in live.mixtures().items():
        experts.eval()
        with torch.no_grad():
            outputs = [experts.dense(probe, gate.expand(20, -1)) for gate in torch.eye(experts.count)]
        for a, b in combinations(range(experts.count), 2):
            apart = float((outputs[a] - outputs[b]).norm() / outputs[a].norm())
            assert apart > 0.3, (path, a, b)
            changes = [
                (experts.down[e] - live.before[f"{path}.experts.down"][e]).detach().flatten() for e in (a, b)
            ]
            assert float(torch.cosine_similarity(*changes, dim=0)) < 0.9, (path, a, b)  # each its own way


def test_dead_experts_stay_dead_but_for_their_last_bias(dead: Trained) -> None:
    for path, experts in dead.mixtures().items():
        for part in ("down", "down_bias", "up"):
            assert not getattr(experts, part).any(), (path, part)
        assert (dead.moved(f"{path}.experts.up_bias") > 0).all()
        assert len(experts.up_bias) == 1


def test_a_dead_generator_says_the_same_of_every_token(dead: Trained) -> None:
    experts = dead.mixtures()["ffm.generators.0"].eval()
    with torch.no_grad():
        said = experts.dense(torch.randn(20, 48), torch.eye(3)[:1].expand(20, -1))
    assert torch.equal(said, said[:1].expand_as(said))
