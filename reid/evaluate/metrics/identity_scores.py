"""Average precision by identity: all that a bootstrap over identities needs to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluate.metrics.retrieval import RetrievalMetrics


@dataclass(frozen=True)
class IdentityScores:
    """Sums over the valid queries of each of I identities; identities are in ascending order."""

    pid: NDArray[np.int64]  # (I,)
    total: NDArray[np.float64]  # (I,) sum of average precisions
    count: NDArray[np.float64]  # (I,) number of queries

    @staticmethod
    def of(metrics: RetrievalMetrics, q_pid: Tensor) -> IdentityScores:
        """From results of Q queries and their identities (Q,).

        >>> from reid.evaluate.metrics.retrieval import rank_metrics
        >>> pids = torch.tensor([4, 4, 7])
        >>> found = IdentityScores.of(rank_metrics(torch.ones(3, 3), pids, pids), pids)
        >>> found.pid.tolist(), found.count.tolist()
        ([4, 7], [2.0, 1.0])
        """
        kept = metrics.valid
        known, identity = torch.unique(q_pid.cpu()[kept], return_inverse=True)
        index = identity.numpy()
        return IdentityScores(
            known.numpy().astype(np.int64),
            np.bincount(index, weights=metrics.ap[kept].numpy(), minlength=len(known)).astype(np.float64),
            np.bincount(index, minlength=len(known)).astype(np.float64),
        )

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean over queries; NaN without any.

        >>> IdentityScores.from_dict({"pid": [3, 5], "total": [1.0, 0.5], "count": [1.0, 2.0]}).mAP
        0.5
        """
        return float(self.total.sum() / self.count.sum()) if self.count.sum() else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"pid": self.pid.tolist(), "total": self.total.tolist(), "count": self.count.tolist()}

    @staticmethod
    def from_dict(tree: dict[str, Any]) -> IdentityScores:
        """What `to_dict` gave."""
        return IdentityScores(
            np.asarray(tree["pid"], np.int64),
            np.asarray(tree["total"], np.float64),
            np.asarray(tree["count"], np.float64),
        )
