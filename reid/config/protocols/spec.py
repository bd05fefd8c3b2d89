"""What a protocol is made of, as pure data: a configuration section that a preset or a YAML can write.

```yaml
evaluate:
  protocol:                     # or just a registered name: `protocol: sysu_all`
    extends: sysu_all           # optional: start from a registered protocol
    gallery: {sampling: {shots: 10}}
    exclude: [same_sample, location]
```
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from reid.config.protocols.rule_names import RULE_WORDS
from reid.config.typed import Section, as_validator, did_you_mean
from reid.modality import Modality, parse_modality

Split = Literal["train", "val", "test"]
Leakage = Literal["always", "visual_only", "never"]
Asked = Literal["model", "to_rgb", "both", "same"]
CmcList = Literal["images", "identities"]
"""What CMC ranks: every gallery image, or each identity once, at its best image (SYSU-MM01)."""
RANKS = (1, 5, 10)
"""The CMC ranks of most papers' tables."""


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


class SideConfig(Section):
    """Which samples take part on one side."""

    roles: bool = Field(True, description="follow the data set's query and gallery roles, where it has any")
    cameras: Annotated[tuple[int, ...], BeforeValidator(_one_or_many)] | None = Field(
        None, min_length=1, description="only captures of these cameras (camid); default: all"
    )
    split: Split | None = Field(None, description="default: evaluate.split")


class QueryConfig(SideConfig):
    """Who asks."""

    one_per: Literal["caption", "image"] = Field(
        "caption", description="text queries: one a caption, or the first caption of each image"
    )


class SamplingConfig(Section):
    """Galleries drawn at random from all gallery items; numbers are means over the trials."""

    per: tuple[Literal["pid", "camid", "modality"], ...] = Field(
        ("pid", "camid"), min_length=1, description="items are drawn within each of these cells"
    )
    shots: int | None = Field(1, ge=1, description="items of a cell, all where it has fewer; null: all")
    trials: int = Field(10, ge=1)
    seed: int = Field(0, ge=0, description="choice: trial t is drawn with seed + t")
    method: Literal["choice", "permutation"] = Field(
        "choice", description="Python's random.choice in sorted cells (AGW), or SYSU's permutation file"
    )
    permutations: str | None = Field(None, description="rand_perm_cam.mat, or the same as JSON")

    @field_validator("per")
    @classmethod
    def _cells(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value[0] != "pid" or len(set(value)) < len(value):
            raise ValueError("give pid first and nothing twice, e.g. [pid, camid]")
        return value

    @model_validator(mode="after")
    def _has_file(self) -> SamplingConfig:
        if (self.method == "permutation") != (self.permutations is not None):
            raise ValueError("method permutation and a file in permutations belong together")
        if self.method == "permutation" and self.per != ("pid", "camid"):
            raise ValueError("permutations are per [pid, camid]")
        return self


class GalleryConfig(SideConfig):
    """What can be found."""

    mixed: bool = Field(
        False, description="items of each camera modality on their own, all in one gallery: rgb|nir"
    )
    sampling: SamplingConfig | None = Field(None, description="default: every item, one trial")


class PairConfig(Section):
    """Queries of parts of different samples, for data whose modalities are photographed apart (SYSU-MM01).

    Captured infrared rows are the queries; their text and sketch come from one random row of the same
    identity that has `from`. Queries of text and sketch alone: every `from` row, without a camera.
    """

    donor: Annotated[Modality, BeforeValidator(as_validator(parse_modality))] = Field(
        Modality.RGB,
        validation_alias=AliasChoices("from", "donor"),
        description="`from`: the modality whose rows give text and sketch",
    )
    seed: int = Field(0, ge=0)


class ProtocolConfig(Section):
    """A way to evaluate: who asks, what can be found, and which pairs do not count."""

    name: str = Field(
        "custom", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="part of the report's path"
    )
    extends: str | None = Field(None, description="registered protocol that this one changes")
    summary: str | None = Field(
        None, description="one sentence for the report; default: the extended one's, and what is changed"
    )
    asked: Asked = Field(
        "model",
        description="the pairings measured unless evaluate.subsets names some: what the model answers, all "
        "but RGB against RGB, each camera modality against each other one, or each against itself",
    )
    query: QueryConfig = QueryConfig()
    gallery: GalleryConfig = GalleryConfig()
    exclude: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(
        ("same_sample",), description="rules by name: pairs that are dropped from the ranking"
    )
    leakage: Leakage = Field(
        "always",
        description="drop the source of generated query parts: for every query, for all but queries of text "
        "alone, or for none",
    )
    cmc: CmcList = Field("images", description="CMC on the list of images, or of identities (SYSU-MM01)")
    ranks: tuple[Annotated[int, Field(ge=1)], ...] = Field(RANKS, min_length=1)
    pair: PairConfig | None = None

    @field_validator("exclude")
    @classmethod
    def _rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in RULE_WORDS:
                raise ValueError(f"unknown rule {name!r}.{did_you_mean(name, list(RULE_WORDS))}")
        return tuple(dict.fromkeys(value))

    @field_validator("ranks")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _leakage_is_said_once(self) -> ProtocolConfig:
        if "leakage" in self.exclude and self.leakage != "always":
            raise ValueError(
                f"exclude has the rule leakage, but leakage is {self.leakage!r}; drop one of them"
            )
        return self
