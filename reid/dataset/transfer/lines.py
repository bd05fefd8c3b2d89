"""A sample as lines of an exported tree's tables, and as the files that they name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from reid import storage
from reid.data.readers.shared import sample_tree
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import Caption, Image, Labels, Mask, Sample
from reid.modality import CAMERA, VISUAL, Target

PROVENANCE = ("origin", "generator", "params_hash", "source_id")
PER_FILE = ("sample_id", "dataset", "split", "pid", "camid", "attributes")
"""Labels that every line repeats, and attributes, which have a table of their own."""
ALL = "ALL"


@dataclass(frozen=True)
class ExportedSample:
    """The exported form of one sample: files (relative path -> bytes) and rows of the tables."""

    files: dict[str, bytes]
    lines: list[dict[str, Any]]
    captions: tuple[str, list[dict[str, Any]]] | None
    """Of captions.json: the path that names the sample, and its sentences."""
    texts: dict[str, dict[str, str]]
    """Each photo's view ("RGB", "NI" …) and "ALL" -> {item, description}."""
    attributes: dict[str, Any] | None

    def tables(self) -> dict[str, Any]:
        """Everything but the files, JSON-able."""
        return {
            "lines": self.lines,
            "captions": self.captions,
            "texts": self.texts,
            "attributes": self.attributes,
        }


@dataclass(frozen=True)
class GeneratedPart:
    """How a set's generators made a part, as far as the sample itself does not record it."""

    versions: dict[str, str | None]
    seeds: dict[str, int | None]

    @classmethod
    def of(cls, manifest: Manifest) -> GeneratedPart:
        """From a set's manifest."""
        seed = manifest.config.get("build", {}).get("seed")
        made = manifest.generators
        return cls(
            {target: facts.get("code") for target, facts in made.items()},
            {target: facts.get("seed", seed) for target, facts in made.items()},
        )


def export_sample(sample: Sample, path: str, made: GeneratedPart) -> ExportedSample:
    """The files and rows of a sample whose relative path is `path`."""
    named: dict[Target, tuple[str, Image | Mask]] = {}
    for modality in VISUAL:
        if image := sample.images.get(modality):
            rel = f"{sample_tree.FOLDERS[modality]}/{path}.{sample_tree.suffix_of(image.image)}"
            named[Target(modality.value)] = rel, image
    first = next((rel for rel, _ in named.values()), None)
    if sample.mask is not None:
        named[Target.MASK] = f"{sample_tree.MASKS}/{path}.png", sample.mask
    lines = [_line(sample, target, rel, part, first, made) for target, (rel, part) in named.items()]
    if not lines:
        lines = [_base(sample, Target.TEXT, None)]
    labels = asdict(sample.labels)
    facts = {f.name: labels[f.name] for f in fields(Labels) if f.name not in PER_FILE}
    lines[0]["sample"] = {**facts, "content_hash": sample.content_hash}
    key = first or sample.labels.sample_id
    item = sample_tree.item(first) if first else sample.labels.sample_id
    attributes = None
    if sample.labels.attributes:
        listed = [asdict(a) for a in sample.labels.attributes]
        attributes = {"item": item, "sample_id": sample.labels.sample_id, "attributes": listed}
    return ExportedSample(
        files={rel: part.image for rel, part in named.values()},
        lines=lines,
        captions=(key, [asdict(c) for c in sample.captions]) if sample.captions else None,
        texts=_texts(sample, item, {t: rel for t, (rel, _) in named.items()}),
        attributes=attributes,
    )


def _base(sample: Sample, target: Target, rel: str | None) -> dict[str, Any]:
    labels = sample.labels
    return {
        "rel_path": rel,
        "sample_id": labels.sample_id,
        "dataset": labels.dataset,
        "pid": labels.pid,
        "cam": labels.camid,
        "split": labels.split,
        "modality": target.value,
    }


def _line(
    sample: Sample, target: Target, rel: str, part: Image | Mask, first: str | None, made: GeneratedPart
) -> dict[str, Any]:
    synthetic = part.origin != "captured"
    here = part.source_id == sample.labels.sample_id
    line = {
        **_base(sample, target, rel),
        "synthetic": synthetic,
        "generator": part.generator,
        "version": made.versions.get(target.value) if synthetic else None,
        "params_hash": part.params_hash,
        "seed": made.seeds.get(target.value) if synthetic else None,
        "source_rel_path": first if synthetic and here and first != rel else None,
        "source_id": part.source_id,
        "sha256": storage.sha256(part.image),
    }
    if part.origin not in {"captured", "generated"}:
        line["origin"] = part.origin
    if isinstance(part, Mask):
        line["score"] = part.score
    return line


def _texts(sample: Sample, item: str, rels: dict[Target, str]) -> dict[str, dict[str, str]]:
    """The surest sentence for each picture that a list of descriptions exists for, and for the sample."""
    if not sample.captions:
        return {}
    text = max(sample.captions, key=_sureness).text
    texts = {
        modality.entry.caption_view: {"item": sample_tree.item(rel), "description": text}
        for modality in CAMERA
        if (rel := rels.get(Target(modality.value)))
    }
    return {**texts, ALL: {"item": item, "description": text}}


def _sureness(caption: Caption) -> tuple[bool, float]:
    """Captured ones first, then by confidence; the first of equals wins."""
    return caption.origin == "captured", 1.0 if caption.confidence is None else caption.confidence
