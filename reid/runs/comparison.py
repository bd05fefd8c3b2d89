"""How alike two captures are, and what that means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `Run.compare` found of two captures.

    `similarity` is in -1..1: a cosine, or a weighted mean of cosines of blocks. `likelihood_ratio` (above 0)
    says how much more often two captures of one object are so alike than captures of two objects;
    `probability` (0..1) is the chance of one object if it was `prior` before. These three are None where the
    pairing of subsets is not calibrated; `notes` says why. `query_subset` and `gallery_subset` name the
    modalities that were compared.
    """

    similarity: float
    query_subset: str
    gallery_subset: str
    likelihood_ratio: float | None = None
    probability: float | None = None
    prior: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether the similarity has a likelihood ratio."""
        return self.likelihood_ratio is not None

    def __repr__(self) -> str:
        facts = [f"similarity {self.similarity:.3f}"]
        if self.likelihood_ratio is not None:
            facts.append(f"likelihood ratio {self.likelihood_ratio:.3g}")
            facts.append(f"probability {self.probability:.1%} at prior {self.prior:.3g}")
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<Comparison of {self.query_subset} with {self.gallery_subset}: {', '.join(facts)}{notes}>"
