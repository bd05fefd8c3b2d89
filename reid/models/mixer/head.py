"""MixER's head: branches on a backbone's maps before its last stage, their losses, and retrieval vectors.

`model` says what is from the paper and what is reconstructed. The head needs only those maps and one last
stage to copy, so it also fits another system's backbone, as in the paper.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.config.typed import Section
from reid.errors import ConfigError
from reid.models.mixer.branches import PARTS, Branches, Layout, Part, Views
from reid.models.mixer.centre_separation import centre_separation
from reid.models.mixer.cross_modal_triplet import Negatives, mixed_cross_modal_triplet
from reid.models.mixer.gradient_reversal import GradientReversal
from reid.models.mixer.necks import Neck
from reid.models.mixer.orthogonality import orthogonality, orthonormality
from reid.nn.classifier.layer import Classifier
from reid.nn.distributed import gather_rows
from reid.nn.losses.triplet import batch_hard_triplet
from reid.nn.precision import full_precision, without_autocast

Features = dict[Part, Tensor]
"""(N, D) of the pictures of all ranks."""


class ReversalConfig(Section):
    """The reversed gradient of the modality classifier."""

    strength: float = Field(1.0, ge=0, description="factor of the reversed gradient (gamma)")
    ramp_steps: int = Field(
        0, ge=0, description="training steps over which the factor rises from 0; 0: constant"
    )


class OrthogonalityConfig(Section):
    """How erased and related features are kept apart."""

    on: Literal["bn", "raw"] = Field(
        "bn",
        description="features that are compared: after the batch norms (centred), or raw pooled ones "
        "(non-negative)",
    )
    form: Literal["abs", "squared", "correlation", "projection"] = Field(
        "abs",
        description="measure of dependence: |cos|, cos^2, the correlation of channels, or projection "
        "to halves of one learned orthonormal basis",
    )
    detach: Literal["none", "erased", "related"] = Field(
        "none", description="feature that gets no gradient from this loss"
    )


class MetricConfig(Section):
    """Metric terms of the single features."""

    kind: Literal["triplet", "centre", "none"] = Field(
        "triplet",
        description="metric loss: batch-hard triplets, separation of identity centres (SAAI's public "
        "code), or none",
    )
    margin: float | None = Field(0.3, ge=0, description="margin of the triplets; null: soft margin")


class CrossTripletConfig(Section):
    """The mixed cross-modal triplet on the fused feature."""

    enabled: bool = Field(True, description="use the mixed cross-modal triplet loss")
    margin: float | None = Field(0.3, ge=0, description="margin of the triplets; null: soft margin")
    negatives: Negatives = Field(
        "any", description="nearest negative of any modality, or of the positive's modality"
    )
    centre_weight: float = Field(
        0.0, ge=0, description="weight of an additional separation of centres (SAAI)"
    )


class RetrievalConfig(Section):
    """What vectors hold."""

    parts: Literal["both", "e_only"] = Field(
        "both",
        description="features in a vector: erased and related, or erased only (related features of "
        "two branches are not comparable)",
    )
    related_weight: float = Field(
        1.0, gt=0, description="weight of the related feature beside the erased one; both have unit norm"
    )
    on: Literal["bn", "raw"] = Field("bn", description="features after the batch norms (bn), or before (raw)")


class HeadConfig(Section):
    """Fields of a `model:` section with MixER's head."""

    branch_layout: Layout = Field(
        "e_rv_ri",
        description="branches: erased alone (e); with one related branch for both modalities (e_r) "
        "or one for each (e_rv_ri); with an additional unchanged branch (e_r_base)",
    )
    mam: bool = Field(True, description="modality alleviation after stages 3 and 4 of a ResNet")
    pooling: Literal["gap", "gem"] = Field("gap", description="pooling of feature maps to vectors")
    dual_norm: bool = Field(False, description="a separate batch norm of pooled features for each modality")
    meid_weight: float = Field(
        1.0, ge=0, description="weight of the identity and metric losses of the erased feature"
    )
    mid_weight: float = Field(
        1.0, ge=0, description="weight of the identity-and-modality and metric losses of the related feature"
    )
    modality_weight: float = Field(
        0.4,
        ge=0,
        description="weight of the modality loss of the erased feature, whose gradient is reversed "
        "(lambda_m)",
    )
    orthogonality_weight: float = Field(
        0.6, ge=0, description="weight of the orthogonality between erased and related features (lambda_o)"
    )
    fusion_weight: float = Field(
        0.4,
        ge=0,
        description="weight of the identity and mixed triplet losses of the fused feature (lambda_f)",
    )
    base_weight: float = Field(
        1.0, ge=0, description="weight of the identity and metric losses of the unchanged branch (e_r_base)"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing of all classifications")
    metric: MetricConfig = Field(MetricConfig(), description="metric losses of the single features")
    cross_triplet: CrossTripletConfig = Field(
        CrossTripletConfig(), description="mixed cross-modal triplets on the fused feature"
    )
    reversal: ReversalConfig = Field(
        ReversalConfig(), description="reversal of the modality classifier's gradient"
    )
    orthogonality: OrthogonalityConfig = Field(
        OrthogonalityConfig(), description="how erased and related features are kept apart"
    )
    retrieval: RetrievalConfig = Field(RetrievalConfig(), description="what a retrieval vector consists of")


class MixerHead(nn.Module):
    """Branches, losses and retrieval vectors on maps (n, shared, h, w), visible images first.

    `last` (b, shared, h, w) -> (b, channels, ...) is copied for the branches; `pool` turns its output into
    (b, channels). Raises ConfigError when a branch would have no loss.
    """

    def __init__(
        self,
        config: HeadConfig,
        last: nn.Module,
        pool: nn.Module,
        shared: int,
        channels: int,
        classes: int,
        mam: bool = True,
    ) -> None:
        super().__init__()
        _check(config)
        self.config = config
        self.kinds = PARTS[config.branch_layout]
        paired = "related" in self.kinds
        project = paired and config.orthogonality.form == "projection"
        self.branches = Branches(last, pool, shared, channels, config.branch_layout, mam, project)
        self.necks = nn.ModuleDict({part: Neck(channels, config.dual_norm) for part in self.kinds})
        units: dict[str, tuple[float, int, int]] = {
            "erased": (config.meid_weight, channels, classes),
            "related": (config.mid_weight if paired else 0, channels, 2 * classes),
            "base": (config.base_weight if "base" in self.kinds else 0, channels, classes),
            "fused": (config.fusion_weight if paired else 0, 2 * channels, classes),
        }
        self.classifiers = nn.ModuleDict(
            {name: Classifier(dim, outputs) for name, (weight, dim, outputs) in units.items() if weight}
        )
        self.classes = classes
        self.modality = nn.Linear(channels, 2) if config.modality_weight else None  # W
        self.reversal = GradientReversal(config.reversal.strength, config.reversal.ramp_steps)
        kept = {"both": self.kinds, "e_only": self.kinds[:1]}[config.retrieval.parts]
        self.retrieved: tuple[Part, ...] = kept
        self.feature_blocks: dict[str, slice] = {
            part: slice(i * channels, (i + 1) * channels) for i, part in enumerate(self.retrieved)
        }
        self.dim = len(self.retrieved) * channels

    def forward(self, shared: Tensor, visible: int, retrieval: bool = False, whole: bool = False) -> Views:
        """Features of the parts that training needs, or with `retrieval` those of a vector."""
        views: Views = self.branches(shared, visible, self.retrieved if retrieval else self.kinds, whole)
        return views

    def vectors(self, views: Views) -> Tensor:
        """(n, dim) float32 unit vectors: the concatenated unit features, the related one weighted."""
        rows = []
        for part in self.retrieved:
            x = views.parts[part]
            if self.config.retrieval.on == "bn":
                neck = self.necks[part]
                assert isinstance(neck, Neck)
                x = neck.stored(x, views.visible)
            weight = self.config.retrieval.related_weight if part == "related" else 1.0
            rows.append(weight * F.normalize(x, dim=1))
        return F.normalize(torch.cat(rows, dim=1), dim=1)

    def losses(
        self, views: Views, visible: Tensor, infrared: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | float]]:
        """Weighted losses and statistics over the images of all ranks.

        `visible` and `infrared` are the identities of all ranks' images of that modality.
        """
        with without_autocast(visible.device):
            own = full_precision(views.stacked())  # (n, parts, D)
            everywhere = torch.cat([gather_rows(own[: views.visible]), gather_rows(own[views.visible :])])
            raw = dict(zip(self.kinds, everywhere.unbind(1), strict=True))
            rows = len(visible)
            normed: Features = {part: self.necks[part](x, rows) for part, x in raw.items()}
            labels = torch.cat([visible, infrared])
            kinds = torch.zeros_like(labels)
            kinds[rows:] = 1
            return self._losses(raw, normed, labels, kinds, rows)

    def _losses(
        self, raw: Features, normed: Features, labels: Tensor, kinds: Tensor, visible: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | float]]:
        config = self.config
        losses: dict[str, Tensor] = {}
        stats: dict[str, Tensor | float] = {}
        plain: tuple[tuple[Part, float], ...] = (("erased", config.meid_weight), ("base", config.base_weight))
        for part, weight in plain:
            if part in self.classifiers:
                losses[f"id_{part}"] = weight * self._identity(part, normed[part], labels)
                losses |= self._metric(part, weight, [(raw[part], labels)])
        if "related" in self.classifiers:
            joint = labels + self.classes * kinds
            losses["id_related"] = config.mid_weight * self._identity("related", normed["related"], joint)
            each = [(raw["related"][k], labels[k]) for k in (slice(visible), slice(visible, None))]
            losses |= self._metric("related", config.mid_weight, each)
        if self.modality is not None:
            logits = self.modality(self.reversal(raw["erased"]))
            losses["modality"] = config.modality_weight * F.cross_entropy(logits, kinds)
            stats["modality_accuracy"] = (logits.argmax(1) == kinds).float().mean().detach()
            stats["reversal"] = self.reversal.current()
        if "related" in raw:
            cosine = F.cosine_similarity(normed["erased"], normed["related"], dim=1)
            stats["cosine"] = cosine.abs().mean().detach()
            if config.orthogonality_weight:
                losses["orthogonality"] = config.orthogonality_weight * self._orthogonality(raw, normed)
        if "fused" in self.classifiers:
            fused = torch.cat([normed["erased"], normed["related"]], dim=1)
            losses |= self._fusion(fused, labels, kinds)
        return losses, stats

    def _identity(self, name: str, features: Tensor, labels: Tensor) -> Tensor:
        classifier = self.classifiers[name]
        assert isinstance(classifier, Classifier)
        return classifier.loss(features, labels, self.config.label_smoothing)

    def _metric(self, part: str, weight: float, groups: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """The weighted metric term of a part: the mean over groups of rows that are compared together."""
        metric = self.config.metric
        if metric.kind == "none":
            return {}
        terms = [
            batch_hard_triplet(x, y, metric.margin) if metric.kind == "triplet" else centre_separation(x, y)
            for x, y in groups
        ]
        return {f"metric_{part}": weight * torch.stack(terms).mean()}

    def _orthogonality(self, raw: Features, normed: Features) -> Tensor:
        config = self.config.orthogonality
        if config.form == "projection":
            assert self.branches.basis is not None
            return orthonormality(self.branches.basis)
        sides = raw if config.on == "raw" else normed
        erased, related = sides["erased"], sides["related"]
        erased = erased.detach() if config.detach == "erased" else erased
        related = related.detach() if config.detach == "related" else related
        return orthogonality(erased, related, config.form)

    def _fusion(self, fused: Tensor, labels: Tensor, kinds: Tensor) -> dict[str, Tensor]:
        config, weight = self.config.cross_triplet, self.config.fusion_weight
        losses = {"id_fused": weight * self._identity("fused", fused, labels)}
        if config.enabled:
            losses["cross_triplet"] = weight * mixed_cross_modal_triplet(
                fused, labels, kinds, config.margin, config.negatives
            )
        if config.centre_weight:
            losses["centres"] = weight * config.centre_weight * centre_separation(fused, labels)
        return losses


def _check(config: HeadConfig) -> None:
    fused = config.fusion_weight > 0 and config.branch_layout != "e"
    if not (config.meid_weight or fused):
        raise ConfigError("model.meid_weight = 0: the erased branch would learn no identity.")
    if config.branch_layout != "e" and not (config.mid_weight or fused):
        raise ConfigError(
            "model.mid_weight = model.fusion_weight = 0: the related branch would learn no identity; use "
            "model.branch_layout=e."
        )
    if config.branch_layout == "e_r_base" and not config.base_weight:
        raise ConfigError("model.base_weight = 0: use model.branch_layout=e_r.")
