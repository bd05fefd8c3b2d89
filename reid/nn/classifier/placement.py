"""Which rows of a classifier's weight a process keeps: all, its share of them, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class RowRange:
    """Rows `first` to `stop` of the `total` rows of a weight, one row a class."""

    first: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def whole(self) -> bool:
        """Whether these are all rows."""
        return len(self) == self.total


def row_share(total: int, rank: int, world: int) -> RowRange:
    """The rows of a rank: contiguous, in rank order, one more on each of the first `total % world` ranks.

    >>> [(r.first, r.stop) for r in (row_share(5, rank, 2) for rank in range(2))]
    [(0, 3), (3, 5)]
    """
    size, more = divmod(total, world)
    first = rank * size + min(rank, more)
    return RowRange(first, first + size + (rank < more), total)


@dataclass(frozen=True)
class ClassifierPlacement:
    """How the classifiers of a model are built.

    Args:
        rank, world: the rank whose rows are kept, of so many that split them; (0, 1) keeps all.
        sampling: share of its rows, above 0 up to 1, that a rank compares with in a step (see `sampling`).
        kept: False builds classifiers without a weight, for models that only embed.
    """

    rank: int = 0
    world: int = 1
    sampling: float = 1.0
    kept: bool = True

    def rows(self, classes: int) -> RowRange:
        """The rows of a classifier with so many classes."""
        return row_share(classes, self.rank, self.world)


WHOLE = ClassifierPlacement()
_PLACEMENT: ContextVar[ClassifierPlacement] = ContextVar("classifier_placement", default=WHOLE)


@contextlib.contextmanager
def classifiers_placed(placement: ClassifierPlacement) -> Iterator[None]:
    """Within this context models are built with classifiers of this placement; outside they are whole.

    >>> from reid.nn.classifier.layer import Classifier
    >>> with classifiers_placed(ClassifierPlacement(rank=1, world=2)):
    ...     Classifier(8, 5).weight.shape
    torch.Size([2, 8])
    """
    token = _PLACEMENT.set(placement)
    try:
        yield
    finally:
        _PLACEMENT.reset(token)


def current_placement() -> ClassifierPlacement:
    """What `classifiers_placed` set."""
    return _PLACEMENT.get()
