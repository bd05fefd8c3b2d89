"""How two captures are compared: weighted products of parts of their vectors, a normaliser; or why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reid.modality import Subset, subset_name

Unit = Literal["vector", "block"]
"""What has norm 1 before products are taken: the whole vector as it was embedded, or each of its blocks."""


@dataclass(frozen=True)
class FeatureBlock:
    """A named part of a vector: entries `start` to `stop` (excluded).

    `modality` is the one that the block speaks for; "" where it speaks for all at once. A `shared` block is
    compared with the shared blocks of every modality, any other only with itself.

    >>> FeatureBlock("rgb", 0, 512, "rgb").size
    512
    """

    name: str
    start: int
    stop: int
    modality: str = ""
    shared: bool = False

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """Its place in a vector."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Term:
    """The inner product of a block of the query with a block of the item, times a weight.

    >>> Term("rgb", "rgb", 1.0)
    Term(query_block='rgb', gallery_block='rgb', weight=1.0)
    """

    query_block: str
    gallery_block: str
    weight: float


@dataclass(frozen=True)
class Normaliser:
    """What makes scores comparable: what has norm 1, and the name of the scale that a score lies on.

    Scores of one scale have a common order, whatever the subsets; scores of two scales have none.

    >>> Normaliser("vector", "rgb+nir") == Normaliser("vector", "rgb")
    False
    """

    unit: Unit
    scale: str


@dataclass(frozen=True)
class PairComparison:
    """The comparison of one query subset with one gallery subset.

    `query` and `gallery` are the subsets that are embedded, which may be fewer modalities than there are. The
    score is the sum of the terms.

    >>> from reid.modality import parse_subset
    >>> rgb = parse_subset("rgb")
    >>> PairComparison(rgb, rgb, (Term("rgb", "rgb", 1.0),), Normaliser("vector", "rgb")).name
    'rgb'
    """

    query: Subset
    gallery: Subset
    terms: tuple[Term, ...]
    normaliser: Normaliser

    @property
    def name(self) -> str:
        """The embedded subsets, e.g. "text->rgb"; one name where both are the same."""
        asked, found = subset_name(self.query), subset_name(self.gallery)
        return asked if asked == found else f"{asked}->{found}"


@dataclass(frozen=True)
class RefusedPair:
    """Why two subsets cannot be compared, and what to do about it; both are sentences.

    >>> RefusedPair("Nothing in common.", "Ask with rgb.").message
    'Nothing in common. Ask with rgb.'
    """

    reason: str
    remedy: str = ""

    @property
    def message(self) -> str:
        """Both sentences."""
        return f"{self.reason} {self.remedy}".strip()
