"""What is rendered by version 2: the settings of version 1, and what modalities share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reid.data.synthetic.identity import SyntheticConfig

PICTURES = ("rgb", "nir", "tir", "sketch", "cp", "depth")
SHARING = PICTURES[1:]
"""The modalities whose share of the cues can be set; RGB and the captions are the reference."""


@dataclass(frozen=True)
class Version2Config(SyntheticConfig):
    """One data set of version 2.

    `shared_cues` gives, per modality, the probability that a trait, a proportion or a texture of an identity
    looks the same there as in RGB; 1 where a modality is not named. The rest is the modality's own: constant
    for the identity within that modality, unknown to every other one.

    >>> Version2Config(shared_cues={"nir": 0.5}).share("nir"), Version2Config().share("tir")
    (0.5, 1.0)
    """

    shared_cues: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        SyntheticConfig.__post_init__(self)
        for name, share in self.shared_cues.items():
            if name not in SHARING:
                raise ValueError(f"shared_cues: {name!r} is none of {', '.join(SHARING)}")
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"shared_cues: {name} must lie in [0, 1], not {share}")

    def share(self, modality: str) -> float:
        """Probability in [0, 1] that a cue looks in `modality` as it does in RGB."""
        return self.shared_cues.get(modality, 1.0)
