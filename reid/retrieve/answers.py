"""What a search takes and gives: queries, hits, results, and captures for the gallery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reid.data.batches.batch_row import Parts


@dataclass(frozen=True)
class SearchQuery:
    """What is asked: content by modality, optionally the gallery subset, and how sure hits must be.

    `min_probability` (0, 1] and `fpr` (a published false-positive rate) withhold hits below them; `prior`
    (0, 1) is the chance of each item before it is looked at. `mask` is a picture of where the object is, for
    models that use one; where a model takes a caption beside its modalities, the text is that caption. `more`
    are the further views of a query with several samples of a modality, of the same modalities as `parts`:
    its vector is that of all of them (`reid.evaluate.several_samples`).
    """

    parts: Parts
    k: int = 10
    gallery_subset: str | None = None  # "rgb", or several joined by "|": items are compared by these only
    min_probability: float | None = None
    fpr: float | None = None
    prior: float | None = None
    mask: bytes | None = None
    more: tuple[Parts, ...] = ()


@dataclass(frozen=True)
class FoundItem:
    """A hit with what the gallery knows of it. `score` is in -1..1: a cosine, or a weighted mean of several.

    `compared_by` names the item's own subset, of which its vector is.

    `likelihood_ratio` says how much more often one object than two is so alike, `probability` that it is the
    query's object under the result's prior; both are None where the pairing is not calibrated.
    """

    id: str
    score: float
    pid: int | None
    camid: int | None
    timestamp: float | None
    modalities: tuple[str, ...]
    source: str | None
    thumbnail: bytes | None = field(repr=False)
    likelihood_ratio: float | None = None
    probability: float | None = None
    compared_by: str = ""


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Hits, best first, and how they came about; iterates over the hits. Subsets are those compared, by name.

    `gallery_subset` is that of the items, several joined by "|": each is compared by its own. `ranked_by`
    tells whether scores order the hits, or likelihood ratios, for scores that have no common order.
    `left_out` counts the items that could not be ranked with the others, by the subset that they have ("" for
    none).

    `degraded` says that a null input stood in for a caption or mask that the query neither had nor got.
    `threshold` is the score that a hit had to reach for the asked `fpr`, None where subsets have several;
    `nothing_confident` says that items were found, and that none was as sure as asked.
    """

    hits: tuple[FoundItem, ...]
    query_subset: str
    gallery_subset: str
    degraded: bool
    warnings: tuple[str, ...]
    gallery_version: int
    model_fingerprint: str
    calibrated: bool = False
    prior: float | None = None
    threshold: float | None = None
    nothing_confident: bool = False
    ranked_by: Literal["score", "likelihood_ratio"] = "score"
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.hits)

    def __bool__(self) -> bool:
        """An answer without hits is one, too."""
        return True

    def __iter__(self) -> Iterator[FoundItem]:
        return iter(self.hits)

    def __getitem__(self, rank: int) -> FoundItem:
        return self.hits[rank]

    @property
    def title(self) -> str:
        """What was compared, in a line."""
        pair = f"{self.query_subset} against {self.gallery_subset}"
        count = f"{len(self)} hit{'' if len(self) == 1 else 's'}"
        return f"{pair}, {count}{', nothing as sure as asked' if self.nothing_confident else ''}"

    def __repr__(self) -> str:
        lines = [f"<SearchResult: {self.title} of gallery version {self.gallery_version}"]
        for rank, hit in enumerate(self.hits, 1):
            sure = "" if hit.probability is None else f"  {hit.probability:.1%} sure"
            labels = (("pid", hit.pid), ("camera", hit.camid))
            known = "".join(f"  {name} {value}" for name, value in labels if value is not None)
            lines.append(f"{rank:>4}. {hit.score:.3f}{sure}  {hit.id}{known}")
        return "\n".join([*lines, *(f"  note: {warning}" for warning in self.warnings)]) + ">"


@dataclass(frozen=True)
class NewItem:
    """A capture to put in the gallery: its content by modality, and its labels."""

    id: str
    parts: Parts
    pid: int | None = None
    camid: int | None = None
    timestamp: float | None = None
    source: str | None = None
    mask: bytes | None = None
