"""Copies of a last stage side by side, and the whole head on a backbone that knows nothing of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reid.models.mixer.branches import AveragePool, Branches, GeM, Layout, Trunk
from reid.models.mixer.head import HeadConfig, MixerHead
from reid.models.mixer.orthogonality import orthogonality

LAYOUTS: list[Layout] = ["e_rv_ri", "e_r_base", "e_r", "e"]


class Toy(nn.Module):
    """Somebody's backbone: two convolutions, the second one its last stage."""

    shared, channels = 64, 96

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.second = nn.Sequential(nn.Conv2d(64, 96, 3, padding=1), nn.ReLU())

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        out: Tensor = self.first(torch.cat([visible, infrared])).relu()
        return out

    def take_last(self) -> nn.Module:
        last = self.second
        del self.second
        return last


def branches(layout: Layout = "e_rv_ri", project: bool = False) -> tuple[Toy, Branches]:
    torch.manual_seed(0)
    toy = Toy()
    last = toy.take_last()
    return toy, Branches(last, AveragePool(), 64, 96, layout, project=project).eval()


def spoil(module: nn.Module) -> None:
    """Make the copies differ."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.3)


PICTURES = torch.randn(5, 3, 16, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_branches_are_equal_at_first_and_their_raw_cosine_is_one(layout: Layout) -> None:
    toy, made = branches(layout)
    with torch.no_grad():
        views = made(toy(PICTURES[:2], PICTURES[2:]), 2, ("erased", "related", "base"))
    for part in views.parts.values():
        assert torch.allclose(part, views.parts["erased"])
        assert float(orthogonality(part, views.parts["erased"])) == pytest.approx(1.0, abs=1e-6)
    assert len(made.copies) == {"e_rv_ri": 3, "e_r_base": 3, "e_r": 2, "e": 1}[layout]


def test_pictures_are_routed_to_the_related_branch_of_their_modality() -> None:
    toy, made = branches()
    spoil(made.stages)
    shared = toy(PICTURES[:2], PICTURES[2:])
    both = made(shared, 2, ("erased", "related"))
    visible, infrared = (made(shared, n, ("erased", "related")).parts["related"] for n in (5, 0))
    assert torch.allclose(both.parts["related"], torch.cat([visible[:2], infrared[2:]]), atol=1e-6)
    assert not torch.allclose(visible, infrared, atol=1e-3)
    whole = made(shared, 2, ("erased", "related"), whole=True)
    for name, part in both.parts.items():
        assert torch.allclose(part, whole.parts[name], atol=1e-6)
    assert list(made(shared, 2, ("erased",)).parts) == ["erased"]


def test_only_what_a_picture_needs_is_run() -> None:
    toy, made = branches()
    ran: list[tuple[str, int]] = []
    for name, stage in made.stages.items():
        stage.register_forward_hook(lambda _, args, __, name=name: ran.append((name, len(args[0]))))
    shared = toy(PICTURES[:2], PICTURES[2:])
    made(shared, 2, ("erased", "related"))
    assert ran == [("erased", 5), ("related_visible", 2), ("related_infrared", 3)]
    ran.clear()
    made(shared[:2], 2, ("erased", "related"))
    assert ran == [("erased", 2), ("related_visible", 2)]
    ran.clear()
    made(shared, 2, ("erased", "related"), whole=True)
    assert sum(n for _, n in ran) == 15


def test_projected_features_lie_in_orthogonal_halves_of_one_basis() -> None:
    toy, made = branches(project=True)
    assert made.basis is not None
    with torch.no_grad():
        made.basis.copy_(torch.linalg.qr(torch.randn(96, 96))[0])
    views = made(toy(PICTURES[:2], PICTURES[2:]), 2, ("erased", "related"))
    assert float(orthogonality(views.parts["erased"], views.parts["related"]).detach()) < 1e-5


def test_generalised_mean_is_the_mean_at_power_one_and_near_the_maximum_above() -> None:
    x = torch.rand(2, 3, 4, 4) + 0.1
    assert torch.allclose(GeM(1.0)(x), AveragePool()(x), atol=1e-6)
    assert torch.allclose(GeM(60.0)(x), x.amax((2, 3)), atol=0.1)
    assert (GeM()(x) > AveragePool()(x)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_head_sits_on_any_backbone_that_gives_maps_and_a_last_stage(layout: Layout) -> None:
    torch.manual_seed(0)
    toy = Toy()
    trunk: Trunk = toy  # all that is asked of a backbone
    config = HeadConfig(branch_layout=layout)
    head = MixerHead(config, trunk.take_last(), AveragePool(), trunk.shared, trunk.channels, classes=3)
    visible, infrared = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    pictures = torch.randn(6, 3, 16, 8)
    views = head(trunk(pictures[:3], pictures[3:]), 3)
    losses, _ = head.losses(views, visible, infrared)
    torch.stack(list(losses.values())).sum().backward()
    for module in (toy, head):
        for name, p in module.named_parameters():
            assert not p.requires_grad or (p.grad is not None and p.grad.any()), name
    vectors = head.eval().vectors(head(trunk(pictures[:3], pictures[3:]), 3, retrieval=True))
    assert vectors.shape == (6, head.dim)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(6), atol=1e-6)
