"""Batch norm over all ranks, as one process sees it; two ranks are compared in tests/train."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from reid.nn import global_batch_norm
from reid.nn.distributed import local_statistics
from reid.nn.global_batch_norm import GlobalBatchNorm2d


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process group of one, told to count as several: every collective is run, with nothing to add."""
    monkeypatch.setitem(os.environ, "GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    monkeypatch.setattr(global_batch_norm, "shares_statistics", lambda: True)
    yield
    dist.destroy_process_group()


def outcome(norm: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradients and running statistics."""
    x = x.clone().requires_grad_()
    out = norm(x)
    (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
    grads = [x.grad, *(p.grad for p in norm.parameters())]
    assert all(g is not None for g in grads)
    return [out.detach(), *(g for g in grads if g is not None), *norm.buffers()]


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_it_computes_what_torchs_batch_norm_does(momentum: float | None) -> None:
    x = 3 * torch.randn(5, 4, 3, 2) + 10
    ours, theirs = GlobalBatchNorm2d(4, momentum=momentum), nn.BatchNorm2d(4, momentum=momentum)
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, 2, -1, 0.5]))
            norm.bias.copy_(torch.tensor([0.0, 1, 2, 3]))
    for a, b in zip(outcome(ours, x), outcome(theirs, x), strict=True):
        assert torch.allclose(a.to(b.dtype), b, atol=2e-4), (a, b)
    assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-4)


@pytest.mark.usefixtures("group")
def test_half_precision_maps_stay_so_with_statistics_in_float32() -> None:
    x = (torch.randn(4, 3, 2, 2) + 100).bfloat16()
    norm = GlobalBatchNorm2d(3)
    out = norm(x)
    assert out.dtype == torch.bfloat16
    assert float(out.float().mean().detach()) == pytest.approx(0, abs=0.05)
    assert norm.running_mean is not None and norm.running_mean.dtype == torch.float32


@pytest.mark.usefixtures("group")
def test_no_image_on_any_rank_is_told() -> None:
    with pytest.raises(ValueError, match="No rank has an image"):
        GlobalBatchNorm2d(3)(torch.zeros(0, 3, 2, 2))


def test_without_images_and_alone_it_still_gives_its_parameters_a_gradient() -> None:
    norm = GlobalBatchNorm2d(3)
    with local_statistics():
        norm(torch.zeros(0, 3, 2, 2)).sum().backward()
    assert norm.weight.grad is not None and not norm.weight.grad.any()
    assert int(norm.num_batches_tracked or 0) == 0
