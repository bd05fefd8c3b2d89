"""Batches in one block of bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reid.train.loading.packing import pack, unpack
from tests.support.models.public_checkpoints import batch as make_batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.uint8, torch.bfloat16])
def test_tensors_come_back_to_the_bit(dtype: torch.dtype) -> None:
    turned, nothing = torch.arange(6).view(2, 3).T.to(dtype), torch.zeros(0, 3, dtype=dtype)
    batch = replace(make_batch(), pid=torch.arange(7).to(dtype), mask=turned, caption=nothing)
    blocks: list[torch.Tensor] = []

    def allocate(size: int) -> torch.Tensor:
        blocks.append(torch.full((size,), 255, dtype=torch.uint8))
        return blocks[0]

    places, size = pack(batch, allocate)
    assert len(blocks[0]) == size
    found = unpack(places, blocks[0])
    for a, b in zip(found.tensors(), batch.tensors(), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype
    assert found.sample_id == batch.sample_id
    assert found.tokens is None


def test_tensors_are_parts_of_the_block() -> None:
    block = torch.zeros(2**20, dtype=torch.uint8)
    places, _ = pack(make_batch(), lambda _: block)
    found = unpack(places, block)
    assert found.camid.any()
    block.zero_()
    assert not any(t.any() for t in found.tensors())
