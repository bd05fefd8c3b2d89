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

from reid.config.protocols.companions import CompanionsConfig
from reid.config.protocols.row_groups import RowGroupConfig
from reid.config.protocols.rule_names import RULE_WORDS
from reid.config.typed import Section, as_validator, did_you_mean
from reid.modality import PHOTO, Modality, parse_modality

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
    """Which samples are on one side."""

    roles: bool = Field(True, description="follow the data set's query and gallery roles, where it has any")
    cameras: Annotated[tuple[int, ...], BeforeValidator(_one_or_many)] | None = Field(
        None, min_length=1, description="only captures of these cameras (camid); default: all"
    )
    split: Split | None = Field(
        None, description="split that this side is read from; default: evaluate.split"
    )


class QueryConfig(SideConfig):
    """Which samples are queries."""

    one_per: Literal["caption", "image"] = Field(
        "caption",
        description="how many queries captions make: one each, or one for each image (its first caption)",
    )


class SamplingConfig(Section):
    """Galleries drawn at random from all gallery items; results are means over the trials."""

    per: tuple[Literal["pid", "camid", "modality"], ...] = Field(
        ("pid", "camid"),
        min_length=1,
        description="labels whose combinations form the cells that items are drawn from; pid comes first",
    )
    shots: int | None = Field(
        1, ge=1, description="items drawn from each cell, all where it has fewer; null: every item"
    )
    trials: int = Field(
        10, ge=1, description="number of galleries that are drawn; the results are means over them"
    )
    seed: int = Field(0, ge=0, description="random seed of method choice; trial t is drawn with seed + t")
    method: Literal["choice", "permutation"] = Field(
        "choice",
        description="how items are drawn: choice: Python's random.choice over sorted cells (AGW's "
        "code); permutation: SYSU-MM01's published permutations",
    )
    permutations: str | None = Field(
        None, description="file of method permutation: rand_perm_cam.mat, or the same numbers as JSON"
    )

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
    """Which samples are gallery items."""

    mixed: bool = Field(
        False, description="one gallery of single-modality items of every camera modality (rgb|nir)"
    )
    sampling: SamplingConfig | None = Field(
        None, description="random sampling of galleries; default: one gallery with every item"
    )


class PairConfig(Section):
    """Queries whose parts come from different samples, for data whose modalities were captured apart (SYSU-
    MM01).

    Captured infrared rows are the queries; their text and sketch come from one random row of the same
    identity with the modality `from`. Queries of text and sketch alone: every `from` row, without a camera.
    """

    donor: Annotated[Modality, BeforeValidator(as_validator(parse_modality))] = Field(
        PHOTO,
        validation_alias=AliasChoices("from", "donor"),
        description="modality whose rows provide the text and sketch of a query; spelled `from` in YAML",
    )
    seed: int = Field(0, ge=0, description="random seed for choosing the row that provides text and sketch")


class ProtocolConfig(Section):
    """An evaluation protocol: the queries, the gallery, and the excluded pairs."""

    name: str = Field(
        "custom",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="name of the protocol; it becomes part of the report's path",
    )
    extends: str | None = Field(None, description="registered protocol that this one starts from")
    summary: str | None = Field(
        None,
        description="one sentence for the report; default: the extended protocol's summary and the "
        "changed fields",
    )
    asked: Asked = Field(
        "model",
        description="pairings measured when evaluate.subsets is null: model: all that the model "
        "supports; to_rgb: all but RGB against RGB; both: each camera modality against "
        "each other one; same: each against itself",
    )
    query: QueryConfig = Field(QueryConfig(), description="which samples are queries")
    gallery: GalleryConfig = Field(GalleryConfig(), description="which samples are gallery items")
    exclude: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(
        ("same_sample",), description="names of the rules that remove pairs from the ranking"
    )
    leakage: Leakage = Field(
        "always",
        description="for which queries the source of a generated part is removed from the ranking: "
        "always, visual_only (not for queries of text alone), never",
    )
    cmc: CmcList = Field(
        "images",
        description="list on which CMC is counted: all gallery images, or each identity once at its "
        "best image (SYSU-MM01)",
    )
    ranks: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        RANKS, min_length=1, description="ranks k at which CMC@k is reported"
    )
    pair: PairConfig | None = Field(
        None,
        description="combine modalities of different samples into one query; null: parts of one sample only",
    )
    companions: CompanionsConfig | None = Field(
        None,
        description="queries that hang on one part, with companions from other samples of the identity, or "
        "with several samples of a modality; null: only where a subset asks for it (nir+sketch@sketch, "
        "rgb*3)",
    )
    averages: dict[str, RowGroupConfig] = Field(
        {},
        description="named groups of rows whose means the report states, e.g. {seven modes: all}, "
        "{pairs: {sizes: 2}}, {drawn: [sketch->rgb, text->rgb]}",
    )

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

    @field_validator("averages")
    @classmethod
    def _named(cls, value: dict[str, RowGroupConfig]) -> dict[str, RowGroupConfig]:
        if not all(name.strip() for name in value):
            raise ValueError("a group of rows needs a name")
        return value

    @model_validator(mode="after")
    def _parts_come_one_way(self) -> ProtocolConfig:
        if self.pair is not None and self.companions is not None:
            raise ValueError("pair and companions both say where parts come from; drop one of them")
        return self

    @model_validator(mode="after")
    def _leakage_is_said_once(self) -> ProtocolConfig:
        if "leakage" in self.exclude and self.leakage != "always":
            raise ValueError(
                f"exclude has the rule leakage, but leakage is {self.leakage!r}; drop one of them"
            )
        return self
