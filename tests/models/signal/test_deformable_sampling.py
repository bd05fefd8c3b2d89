"""Deformable sampling: where its points lie, how they move, and what they read."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from reid.models.signal.deformable_sampling import DeformableSampler
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "signal.json").read_text())


def still(sampler: DeformableSampler, *to: float) -> DeformableSampler:
    """The sampler with every offset at atanh(to), a value a channel; 0 does not move a point."""
    last = sampler.offset[4]
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        sampler.offset[3] = nn.Sequential(nn.GELU(), _Ones())
        for channel, value in enumerate(to):
            last.weight[channel] = torch.tensor(value).atanh() / last.in_channels
    return sampler


class _Ones(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


def ramps(height: int, width: int) -> Tensor:
    """A map of two channels, (1, 2, H, W): its own y and x, from -1 to 1."""
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


def test_reference_points_are_the_published_ones() -> None:
    told = GOLDEN["points"]
    points = DeformableSampler(2, tuple(told["size"]), told["stride"]).points
    assert torch.allclose(points[0, :, 0], torch.tensor(told["y"]), atol=1e-6)
    assert torch.allclose(points[1, 0], torch.tensor(told["x"]), atol=1e-6)


def test_points_beyond_the_border_read_the_border() -> None:
    sampler = still(DeformableSampler(2, (16, 8)), 0.0)
    y, x = sampler(ramps(16, 8))[0]
    assert torch.allclose(y[:, 0], torch.tensor([-2 / 3, 0.0, 2 / 3, 1.0]), atol=1e-6)
    assert torch.allclose(x[0], torch.tensor([0.0, 1.0]), atol=1e-6)


def test_centred_points_spread_evenly() -> None:
    y, x = still(DeformableSampler(2, (16, 8), grid="centred"), 0.0)(ramps(16, 8))[0]
    assert torch.allclose(y[:, 1], torch.tensor([-0.75, -0.25, 0.25, 0.75]), atol=1e-6)
    assert torch.allclose(x[3], torch.tensor([-0.5, 0.5]), atol=1e-6)


def test_one_channel_moves_points_diagonally_two_freely() -> None:
    one = still(DeformableSampler(2, (16, 16), channels=1, grid="centred"), 0.2)(ramps(16, 16))[0]
    rest = still(DeformableSampler(2, (16, 16), grid="centred"), 0.0)(ramps(16, 16))[0]
    assert torch.allclose((one - rest)[:, :3, :3], torch.full((2, 3, 3), 0.2 * 2 / 4), atol=1e-5)
    two = still(DeformableSampler(2, (16, 16), channels=2, grid="centred"), 0.2, -0.4)(ramps(16, 16))[0]
    assert torch.allclose((two - rest)[0, :3, 1:], torch.full((3, 3), 0.1), atol=1e-5)
    assert torch.allclose((two - rest)[1, :3, 1:], torch.full((3, 3), -0.2), atol=1e-5)


def test_published_offsets_reach_as_far_as_the_grid_allows_in_each_direction() -> None:
    """Two over (points - 1) a direction: 4 rows and 2 columns here."""
    assert DeformableSampler(2, (16, 8)).reach[:, 0, 0].tolist() == pytest.approx([2 / 3, 2.0])


@pytest.mark.parametrize("grid", ["dat", "centred"])
def test_a_single_point_sits_in_the_middle(grid: str) -> None:
    sampler = DeformableSampler(2, (4, 7), grid="dat" if grid == "dat" else "centred")
    assert sampler.points.flatten().tolist() == [0.0, 0.0]
    assert torch.isfinite(sampler(torch.randn(3, 2, 4, 7))).all()
    assert torch.allclose(still(sampler, 0.0)(ramps(4, 7)), torch.zeros(2), atol=1e-6)


def test_the_map_itself_is_read_and_never_beyond_its_values() -> None:
    sampler = DeformableSampler(8, (8, 4))
    maps = 3 + torch.rand(2, 8, 8, 4)
    found = sampler(maps)
    assert found.shape == (2, 8, 2, 1)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    assert (found >= low - 1e-5).all()
    assert (found <= high + 1e-5).all()


def test_every_parameter_learns_where_to_look() -> None:
    sampler = DeformableSampler(8, (16, 8))
    sampler(torch.randn(2, 8, 16, 8)).square().sum().backward()
    assert [n for n, p in sampler.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_reading_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = DeformableSampler(8, (16, 8))(torch.randn(2, 8, 16, 8))
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


def test_a_sampler_of_the_paper_s_size_has_its_parameters_and_no_saved_grid() -> None:
    with torch.device("meta"):
        sampler = DeformableSampler(512, (16, 8))
    assert sum(p.numel() for p in sampler.parameters()) == GOLDEN["sampler_parameters"]
    assert not {"points", "reach"} & set(sampler.state_dict())
