"""Evaluation protocols at work: their data (`ProtocolConfig`) turned into queries, galleries and masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid.config.protocols.catalogue import protocol_config, summary_of
from reid.config.protocols.spec import ProtocolConfig
from reid.config.typed import Section
from reid.evaluate.protocols.exclusion_rules import RULES, leakage, same_sample
from reid.evaluate.protocols.gallery_sampling import gallery_trials
from reid.evaluate.protocols.items import (
    GalleryItem,
    ProtocolQuery,
    SampleLabels,
    Selection,
)
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.selection import select_gallery, select_queries
from reid.modality import Modality, Subset, canonical


@dataclass(frozen=True)
class Protocol:
    """A protocol, ready to use. Everything about it is in `config`."""

    config: ProtocolConfig

    @property
    def name(self) -> str:
        """As registered, or as composed."""
        return self.config.name

    @property
    def summary(self) -> str:
        """One or two sentences for the report, with how galleries are drawn and CMC is counted."""
        parts = [summary_of(self.config), self.sampling or ""]
        if self.config.cmc == "identities":
            parts.append("CMC counts identities, not images.")
        return " ".join(part for part in parts if part)

    @property
    def sampling(self) -> str | None:
        """How galleries are drawn, in words; None when they are not."""
        drawn = self.config.gallery.sampling
        if drawn is None or drawn.shots is None:
            return None
        how = f"permutations of {drawn.permutations}"
        if drawn.method == "choice":
            how = f"random.choice in sorted order, seeds {drawn.seed} to {drawn.seed + drawn.trials - 1}"
        cell = ", ".join(drawn.per)
        return f"Means over {drawn.trials} galleries of at most {drawn.shots} per ({cell}): {how}."

    @property
    def exclusions(self) -> tuple[str, ...]:
        """What is not counted, in words for the report."""
        words = [RULES[name].words for name in self.config.exclude if name != "leakage"]
        if self.config.leakage == "always":
            words.append(RULES["leakage"].words)
        elif self.config.leakage == "visual_only":
            words.append(f"{RULES['leakage'].words} (queries of text alone keep them)")
        return tuple(words)

    def warnings(self, labels: Sequence[SampleLabels]) -> tuple[str, ...]:
        """What a reader of the numbers should know: rules that lack their labels, and leakage let in."""
        found = []
        for name in self.config.exclude:
            label = RULES[name].needs
            blind = 0 if label in (None, "content_hash") else sum(getattr(r, label) is None for r in labels)
            if blind:
                found.append(
                    f"Rule {name} cannot see {blind} of {len(labels)} samples, which have no {label}."
                )
        if self.config.leakage == "never":
            found.append("Queries may find the very images that they were generated from (leakage: never).")
        return tuple(found)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the sides name, query side first."""
        named = (self.config.query.split, self.config.gallery.split)
        return tuple(dict.fromkeys(split for split in named if split))

    def with_split(self, split: str) -> Protocol:
        """The same, with the sides that name no split on this one."""
        query, gallery = (
            side.model_copy(update={"split": side.split or split})
            for side in (self.config.query, self.config.gallery)
        )
        return Protocol(self.config.model_copy(update={"query": query, "gallery": gallery}))

    def queries(self, labels: Sequence[SampleLabels], subset: Iterable[Modality]) -> Selection[ProtocolQuery]:
        """The queries in these modalities, ordered like `labels`."""
        return select_queries(self.config, labels, subset)

    def gallery(self, labels: Sequence[SampleLabels], subset: Iterable[Modality]) -> Selection[GalleryItem]:
        """Every gallery item in these modalities, ordered like `labels`; see `gallery_trials` for trials."""
        return select_gallery(self.config, labels, [canonical(subset)])

    def mixed_gallery(
        self, labels: Sequence[SampleLabels], kinds: Sequence[Subset]
    ) -> Selection[GalleryItem]:
        """The items of several kinds, all of each, ordered like `labels`, then by kind."""
        return select_gallery(self.config, labels, kinds)

    def gallery_trials(self, gallery: Sequence[GalleryItem]) -> list[list[int]]:
        """The positions of the items of each trial; without sampling one trial of all."""
        return gallery_trials(self.config.gallery.sampling, gallery)

    def exclude(self, q: LabelArrays, g: LabelArrays) -> Tensor:
        """(Q, G) bool, True = the pair does not count."""
        drop = torch.zeros(len(q), len(g), dtype=torch.bool)
        for name in self.config.exclude:
            drop |= RULES[name].function(q, g)
        if self.config.leakage == "always" and "leakage" not in self.config.exclude:
            drop |= leakage(q, g)
        elif self.config.leakage == "visual_only":
            drop |= leakage(q, g) & q.visual[:, None]
        return drop

    def exclude_sources(self, q: LabelArrays, g: LabelArrays) -> Tensor:
        """`exclude` and, besides, what a query describes or was made from, whatever `leakage` says."""
        return self.exclude(q, g) | leakage(q, g) | same_sample(q, g)

    def keeps_sources(self, subset: Iterable[Modality]) -> bool:
        """Whether queries in these modalities may find what they describe or were made from."""
        visual = any(m.is_visual for m in subset)
        return self.config.leakage == "never" or (self.config.leakage == "visual_only" and not visual)


def get_protocol(value: str | Section) -> Protocol:
    """The protocol of a registered name or of a configuration's mapping.

    Raises ConfigError for an unknown name, with the nearest and all known.
    """
    return Protocol(protocol_config(value))
