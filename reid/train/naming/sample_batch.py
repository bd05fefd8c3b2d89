"""A small fixed batch of every modality, with captions and masks, from a fixed generator."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from reid.data.batches.batch import Batch
from reid.modality import ORDER, PUBLISHED, Modality, Subset

IDENTITIES, CAMERAS, HEIGHT, WIDTH = 3, 3, 32, 16
ROWS, TOKENS, LAST_TOKEN = 6, 12, 63


def sample_batch(modalities: Subset) -> Batch:
    """ROWS captures of IDENTITIES identities, each with all of `modalities`; float64 numbers.

    >>> from reid.modality import parse_subset
    >>> batch = sample_batch(parse_subset("rgb+text"))
    >>> len(batch), batch.images[Modality.RGB].dtype
    (6, torch.float64)
    """
    draw = np.random.Generator(np.random.PCG64(7))  # numbers from bits alone: the same on every machine
    present = torch.tensor([[m in modalities for m in ORDER]] * ROWS)
    others = [m for m in modalities if m not in PUBLISHED]
    rows = torch.arange(ROWS)
    tokens = torch.from_numpy(draw.integers(1, LAST_TOKEN, (ROWS, TOKENS)))
    tokens[rows, 2 + rows % (TOKENS - 2)] = LAST_TOKEN
    pictures = {m: _uniform(draw, ROWS, 3, HEIGHT, WIDTH) for m in PUBLISHED if m.is_visual}
    cameras = torch.full(present.shape, -1)
    columns = [ORDER.index(m) for m in PUBLISHED]
    cameras[:, columns] = torch.from_numpy(draw.integers(0, CAMERAS, (ROWS, len(columns))))
    for m in others:  # each by itself, so that no number depends on what else is registered
        own = np.random.Generator(np.random.PCG64(zlib.crc32(m.value.encode())))
        pictures[m] = _uniform(own, ROWS, 3, HEIGHT, WIDTH)
        cameras[:, ORDER.index(m)] = torch.from_numpy(own.integers(0, CAMERAS, ROWS))
    return Batch(
        pid=rows % IDENTITIES,
        present=present,
        camid=torch.where(present, cameras, -1),
        viewid=torch.full(present.shape, -1),
        images={m: pictures[m] for m in modalities if m.is_visual},
        index=dict.fromkeys(modalities, rows),
        tokens=tokens if Modality.TEXT in modalities else None,
    )


def described(batch: Batch) -> Batch:
    """The batch with a caption and a mask for every row but one."""
    draw = np.random.Generator(np.random.PCG64(8))
    rows = torch.arange(len(batch))
    tokens = torch.from_numpy(draw.integers(1, LAST_TOKEN, (len(batch), TOKENS)))
    tokens[:, -1] = LAST_TOKEN
    mask = torch.zeros(len(batch), 1, HEIGHT, WIDTH, dtype=torch.float64)
    mask[:, :, 4:24, 3:12] = 1
    return replace(
        batch,
        caption=tokens,
        caption_present=rows > 0,
        mask=mask,
        mask_present=rows < len(batch) - 1,
    )


def _uniform(draw: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(draw.random(shape)) * 2 - 1
