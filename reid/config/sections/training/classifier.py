"""The identity classifiers of training heads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid.config.results import SAME_RESULT
from reid.config.typed import Section

SPLIT_FROM = 100_000
"""Training identities from which `sharded: auto` splits the classifiers."""


class ClassifierConfig(Section):
    """The identity classifiers, which only training uses."""

    sharded: Literal["auto"] | bool = Field(
        "auto",
        description="split the classes over the ranks, so that none has the logits of all: true, false, or "
        f"auto (with several ranks, from {SPLIT_FROM} training identities on); the same losses and gradients",
        json_schema_extra=SAME_RESULT,
    )
    sampling: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of a rank's classes that a step compares with: the batch's, and random others "
        "(Partial FC); 1: all",
    )

    def splits(self, classes: int, world: int, global_statistics: bool) -> bool:
        """Whether so many ranks split the classifiers of so many identities.

        >>> [ClassifierConfig().splits(classes, 8, True) for classes in (750, 5_000_000)]
        [False, True]
        """
        if self.sharded == "auto":
            return world > 1 and global_statistics and classes >= SPLIT_FROM
        return self.sharded and world > 1
