"""Evaluation protocols: they turn labels into queries, gallery items and exclusion masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from reid.config.protocols.catalogue import protocol_config, summary_of
from reid.config.protocols.companions import EACH
from reid.config.protocols.query_names import AskedQuery
from reid.config.protocols.spec import ProtocolConfig
from reid.config.typed import Section
from reid.evaluate.protocols.companion_lists import CompanionList
from reid.evaluate.protocols.exclusion_rules import RULES, leakage, same_sample
from reid.evaluate.protocols.gallery_sampling import gallery_trials
from reid.evaluate.protocols.gathering import Gathered
from reid.evaluate.protocols.item_table import Selection
from reid.evaluate.protocols.items import GalleryItem, ProtocolQuery, SampleLabels
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import NONE
from reid.evaluate.protocols.selection import gather_queries, select_gallery, select_queries
from reid.modality import Modality, Subset, canonical


@dataclass(frozen=True)
class Protocol:
    """A protocol that is ready to use; `config` holds everything about it.

    >>> from reid.evaluate.protocols.items import Provenance, SampleLabels
    >>> photo = {Modality.RGB: Provenance()}
    >>> labels = [SampleLabels(f"c{c}", "mine", 1, camid=c, images=photo) for c in (0, 1)]
    >>> protocol = get_protocol("cross_camera")
    >>> queries = protocol.queries(labels, [Modality.RGB]).items
    >>> items = protocol.gallery(labels, [Modality.RGB]).items
    >>> from reid.evaluate.protocols.label_arrays import label_arrays_of
    >>> protocol.exclude(*label_arrays_of(queries, items, labels)).tolist()
    [[True, False], [False, True]]
    """

    config: ProtocolConfig

    @property
    def name(self) -> str:
        """The registered name, or the name that the configuration gives."""
        return self.config.name

    @property
    def summary(self) -> str:
        """One or two sentences for the report: the protocol, its sampling, and the list of CMC."""
        parts = [summary_of(self.config), self.sampling or "", self.gathering or ""]
        if self.config.cmc == "identities":
            parts.append("CMC counts identities, not images.")
        return " ".join(part for part in parts if part)

    @property
    def sampling(self) -> str | None:
        """One sentence about the sampling of galleries; None without sampling."""
        drawn = self.config.gallery.sampling
        if drawn is None or drawn.shots is None:
            return None
        how = f"permutations of {drawn.permutations}"
        if drawn.method == "choice":
            how = f"random.choice in sorted order, seeds {drawn.seed} to {drawn.seed + drawn.trials - 1}"
        cell = ", ".join(drawn.per)
        return f"Means over {drawn.trials} galleries of at most {drawn.shots} per ({cell}): {how}."

    @property
    def gathering(self) -> str | None:
        """One sentence about queries of several samples; None where the protocol says nothing of them."""
        config = self.config.companions
        if config is None:
            return None
        of = "camera" if config.within == "camera" else "identity"
        own = " but its own" if config.captures == "others" else ""
        how = f"read from {config.file}" if config.file else f"drawn once, seed {config.seed}, from any{own}"
        lead = "each modality in turn" if config.anchor == EACH else str(config.anchor)
        return f"Queries hang on {lead}; what accompanies them is {how} of the same {of} on the query side."

    @property
    def exclusions(self) -> tuple[str, ...]:
        """Sentences for the report: which pairs the ranking excludes."""
        words = [RULES[name].words for name in self.config.exclude if name != "leakage"]
        if self.config.leakage == "always":
            words.append(RULES["leakage"].words)
        elif self.config.leakage == "visual_only":
            words.append(f"{RULES['leakage'].words} (queries of text alone keep them)")
        return tuple(words)

    def warnings(self, labels: Sequence[SampleLabels]) -> tuple[str, ...]:
        """Remarks that a reader of the numbers needs: rules without their labels, and permitted leakage.

        Args:
            labels: labels of the evaluated split.
        """
        found = []
        table = label_table_of(labels)
        for name in self.config.exclude:
            label = RULES[name].needs
            blind = 0
            if label == "camid":
                blind = int((table.camid == NONE).sum())
            elif label == "location":
                blind = int(table.location.where(lambda value: value is None).sum())
            if blind:
                found.append(
                    f"Rule {name} cannot see {blind} of {len(labels)} samples, which have no {label}."
                )
        if self.config.leakage == "never":
            found.append("Queries may find the very images that they were generated from (leakage: never).")
        return tuple(found)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the two sides name, the query side's first."""
        named = (self.config.query.split, self.config.gallery.split)
        return tuple(dict.fromkeys(split for split in named if split))

    def with_split(self, split: str) -> Protocol:
        """The same protocol, in which sides without a split of their own use this one.

        Args:
            split: "train", "val" or "test".
        """
        query, gallery = (
            side.model_copy(update={"split": side.split or split})
            for side in (self.config.query, self.config.gallery)
        )
        return Protocol(self.config.model_copy(update={"query": query, "gallery": gallery}))

    def queries(
        self,
        labels: Iterable[SampleLabels],
        subset: Iterable[Modality],
        asked: AskedQuery | None = None,
    ) -> Selection[ProtocolQuery]:
        """Select the queries.

        Args:
            labels: labels of the samples.
            subset: modalities of a query, in any order.
            asked: the same with an anchor and numbers of samples, for queries of several samples.

        Returns:
            The queries in the order of `labels`, and how many samples lack one of the modalities; with an
            anchor, how many anchor items lack companions.

        Raises DataError where a list of companions does not fit the labels.
        """
        if asked is None or asked.anchor is None:
            return select_queries(self.config, label_table_of(labels), subset)
        table = label_table_of(labels)
        return Selection(*self.gathered(table, asked).queries(table))

    def gathered(self, labels: Iterable[SampleLabels], asked: AskedQuery) -> Gathered:
        """What accompanies each anchor item of a row, also of those that lack something."""
        return gather_queries(self.config, labels, asked, self.companion_list)

    @cached_property
    def companion_list(self) -> CompanionList | None:
        """The list of companions that the configuration names, read once. Raises DataError for no list."""
        return CompanionList.read(self.config.companions) if self.config.companions else None

    def gallery(self, labels: Sequence[SampleLabels], subset: Iterable[Modality]) -> Selection[GalleryItem]:
        """Select the gallery items. With sampling these are all candidates; `gallery_trials` samples them.

        Args:
            labels: labels of the samples.
            subset: modalities of an item, in any order.

        Returns:
            The items in the order of `labels`, and how many samples lack one of the modalities.
        """
        return select_gallery(self.config, labels, [canonical(subset)])

    def mixed_gallery(
        self, labels: Sequence[SampleLabels], kinds: Sequence[Subset]
    ) -> Selection[GalleryItem]:
        """Select the items of a mixed gallery.

        Args:
            labels: labels of the samples.
            kinds: modality subsets; each sample becomes one item for each kind that it has.

        Returns:
            The items in the order of `labels`, then of `kinds`.
        """
        return select_gallery(self.config, labels, kinds)

    def gallery_trials(self, gallery: Sequence[GalleryItem]) -> list[Sequence[int]]:
        """The galleries of all trials.

        Args:
            gallery: candidates, as `gallery` or `mixed_gallery` selects them.

        Returns:
            For each trial the positions of its items in `gallery`; without sampling one trial, the
            range of all.
        """
        return gallery_trials(self.config.gallery.sampling, gallery)

    def exclude(self, q: LabelArrays, g: LabelArrays) -> Tensor:
        """Which pairs the ranking excludes.

        Args:
            q: labels of Q queries.
            g: labels of G gallery items.

        Returns:
            (Q, G) bool; True removes the pair.
        """
        drop = torch.zeros(len(q), len(g), dtype=torch.bool)
        for name in self.config.exclude:
            drop |= RULES[name].function(q, g)
        if self.config.leakage == "always" and "leakage" not in self.config.exclude:
            drop |= leakage(q, g)
        elif self.config.leakage == "visual_only":
            drop |= leakage(q, g) & q.visual[:, None]
        return drop

    def exclude_sources(self, q: LabelArrays, g: LabelArrays) -> Tensor:
        """Like `exclude`, with the sources of every query whatever `leakage` is: (Q, G) bool."""
        return self.exclude(q, g) | leakage(q, g) | same_sample(q, g)

    def keeps_sources(self, subset: Iterable[Modality]) -> bool:
        """Whether queries in these modalities may find the images that they were made from."""
        visual = any(m.is_visual for m in subset)
        return self.config.leakage == "never" or (self.config.leakage == "visual_only" and not visual)


def get_protocol(value: str | Section) -> Protocol:
    """Build a protocol from a registered name or from a section of the configuration.

    Args:
        value: a name such as "cross_camera", or the section that `evaluate.protocol` holds.

    Raises ConfigError for an unknown name; the message lists the known ones and the nearest.

    >>> get_protocol("market1501").exclusions[0]
    "items of the same identity from the query's camera, where known"
    """
    return Protocol(protocol_config(value))
