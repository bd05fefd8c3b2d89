"""Terms that push two features of an image apart, as a relaxation of their independence.

MixER (arXiv 2501.13307) asks that the modality-erased and the modality-related feature be orthogonal, after
SGIEL (CVPR 2023). How it measures that is not in the text at hand: these forms are reconstructions.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.precision import full_precision, without_autocast

Form = Literal["abs", "squared", "correlation"]


def orthogonality(a: Tensor, b: Tensor, form: Form = "abs") -> Tensor:
    """A scalar in [0, 1] of paired features a, b (N, D), in float32; 0: orthogonal.

    abs, squared: the mean over rows of |cos|, cos². correlation: the root mean square of the D x D
    correlations between a's and b's channels over the batch (the Frobenius norm of that matrix over D).
    """
    with without_autocast(a.device):
        a, b = full_precision(a), full_precision(b)
        if form == "correlation":
            return _correlation(a, b)
        cosine = F.cosine_similarity(a, b, dim=1)
        return (cosine.abs() if form == "abs" else cosine.square()).mean()


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """By the N x N products of rows, which have the same norm as the D x D ones of channels."""
    x, y = (F.normalize(t - t.mean(0), dim=0) for t in (a, b))  # columns of unit length
    squares = ((x @ x.T) * (y @ y.T)).sum().clamp_min(1e-12)  # |x^T y|_F^2
    return squares.sqrt() / a.shape[1]


def orthonormality(matrix: Tensor) -> Tensor:
    """|P^T P - I| (Frobenius) of a square matrix: how far its columns are from orthonormal. A scalar."""
    with without_autocast(matrix.device):
        p = full_precision(matrix)
        gap = p.T @ p - torch.eye(p.shape[1], device=p.device)
        return gap.square().sum().clamp_min(1e-12).sqrt()
