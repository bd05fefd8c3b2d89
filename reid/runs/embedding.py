"""Embeds rows in evaluation mode; rows that need the same encoder pass share it.

An evaluation needs many subsets of one capture: rgb, nir, rgb+nir ... Rows that show the same picture are
joined to one row with all their parts, which the model encodes once (`embed_many`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.modality import Modality, Subset, canonical
from reid.models.base import ReIDModel, Side

Vectors = npt.NDArray[np.float32]


@dataclass
class JoinedRows:
    """Parts that one pass encodes, and the rows that consist of them."""

    row: BatchRow
    asked: dict[Subset, list[int]]  # subset -> positions of the rows that are this subset of the parts


def join_rows(rows: Sequence[BatchRow]) -> list[JoinedRows]:
    """Join rows that share a part and contradict each other in none.

    Everything besides the parts (label, auxiliary inputs) must be equal.
    """
    joined: list[JoinedRows] = []
    holders: dict[tuple[Modality, RowPart], list[JoinedRows]] = defaultdict(list)
    for position in sorted(range(len(rows)), key=lambda i: -len(rows[i].parts)):
        row = rows[position]
        keys = list(row.parts.items())
        home = next((j for key in keys for j in holders[key] if _agree(j.row, row)), None)
        if home is None:
            home = JoinedRows(replace(row, parts={}), {})
            joined.append(home)
        new = [key for key in keys if key[0] not in home.row.parts]
        home.row = replace(home.row, parts={**home.row.parts, **dict(new)})
        for key in new:
            holders[key].append(home)
        home.asked.setdefault(canonical(row.parts), []).append(position)
    return joined


def embed_rows(
    model: ReIDModel,
    collator: Collator,
    rows: Sequence[BatchRow],
    side: Side,
    batch_size: int,
    device: torch.device,
) -> Vectors:
    """(n, dim) float32 unit vectors in the order of the rows, which may have different subsets.

    `batch_size` counts captures: rows that share their parts are one.
    """
    vectors = np.zeros((len(rows), model.dim), np.float32)
    alike: dict[tuple[Subset, ...], list[JoinedRows]] = defaultdict(list)
    for one in join_rows(rows):
        subsets = tuple(sorted(one.asked))
        alike[subsets if len(subsets) > 1 else ()].append(one)
    training = model.training
    model.eval()
    with torch.inference_mode():
        for subsets, group in alike.items():
            for start in range(0, len(group), batch_size):
                part = group[start : start + batch_size]
                batch = collator([one.row for one in part]).to(device)
                if subsets:
                    found = model.embed_many(batch, subsets, side)
                else:  # every row is asked for whole: rows with different subsets go together
                    found = {(): model.embed(batch, side)}
                for subset, values in found.items():
                    matrix = values.float().cpu().numpy()
                    for one, vector in zip(part, matrix, strict=True):
                        vectors[one.asked[subset] if subset else next(iter(one.asked.values()))] = vector
    model.train(training)
    return vectors


def _agree(one: BatchRow, other: BatchRow) -> bool:
    """Whether two rows can be joined: equal wherever both have a value."""
    parts = all(one.parts[m] == part for m, part in other.parts.items() if m in one.parts)
    return parts and replace(one, parts={}) == replace(other, parts={})
