"""A contact sheet of a shard set: some rows with all modalities, their origins, and the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFilter

from reid.config.sections.captions import CaptionPolicy
from reid.data.images import encode_jpeg, open_image
from reid.data.shards.row_groups import GroupList, GroupRef
from reid.data.shards.schema import SPLITS, Caption, Image, Mask, Sample, SampleAttribute
from reid.data.shards.shard_set import ShardSet
from reid.dataset.captions.quality import judge_captions
from reid.errors import DataError
from reid.evaluate.report.pages import environment, image_uri
from reid.modality import VISUAL

LONGEST = 256
"""Side of a picture on the page, pixels."""
TINT = (255, 64, 129)
_PER_IDENTITY = 6


@dataclass(frozen=True)
class PreviewSelection:
    """The rows that are shown, and the number of all rows."""

    samples: list[Sample]
    rows: int


def choose_preview(
    shards: ShardSet, count: int, split: str | None = None, seed: int = 0, by_identity: bool = False
) -> PreviewSelection:
    """Choose about `count` rows, the same for the same seed; only their row groups are read.

    Rows are drawn evenly over the set; `by_identity` draws identities instead, with up to six rows of each.
    Raises DataError when the split is empty.
    """
    splits = [split] if split else [s for s in SPLITS if shards.rows(s)]
    lists = [shards.groups(s) for s in splits]
    sizes = np.concatenate([groups.rows for groups in lists]) if lists else np.zeros(0, np.int64)
    rows = int(sizes.sum())
    if not rows:
        known = ", ".join(s for s in SPLITS if shards.rows(s)) or "none"
        raise DataError(f"{shards.root}: no row in split {split!r}; splits with rows: {known}.")
    rng = np.random.default_rng(seed)
    wanted = _of_identities(lists, count, rng) if by_identity else _of_rows(sizes, count, rng)
    samples = []
    for index in sorted(wanted):
        held = shards.read_group(_group(lists, index))
        samples += [held[i] for i in sorted(wanted[index])]
    return PreviewSelection(samples, rows)


def _group(lists: Sequence[GroupList], index: int) -> GroupRef:
    """A row group by its position among those of all splits."""
    for groups in lists:
        if index < len(groups):
            return groups[index]
        index -= len(groups)
    raise IndexError(index)


def _of_rows(sizes: NDArray[np.int64], count: int, rng: np.random.Generator) -> dict[int, list[int]]:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    drawn = np.sort(rng.choice(int(starts[-1]), size=min(count, int(starts[-1])), replace=False))
    wanted: dict[int, list[int]] = {}
    for row in drawn.tolist():
        group = int(np.searchsorted(starts, row, side="right")) - 1
        wanted.setdefault(group, []).append(row - int(starts[group]))
    return wanted


def _of_identities(lists: Sequence[GroupList], count: int, rng: np.random.Generator) -> dict[int, list[int]]:
    """Rows of an identity follow each other in its row group, in the order of `identities`."""
    sizes = np.concatenate([groups.table.rows for groups in lists]).astype(np.int64)
    groups = np.concatenate([np.diff(groups.table.group_starts) for groups in lists])
    of_group = np.repeat(np.arange(len(groups)), groups)
    before = np.cumsum(sizes) - sizes
    first = np.concatenate([[0], np.cumsum(groups)[:-1]])
    wanted: dict[int, list[int]] = {}
    left = count
    for place in rng.permutation(len(sizes)):
        index, rows = int(of_group[place]), int(sizes[place])
        start = int(before[place] - before[first[index]])
        taken = min(rows, _PER_IDENTITY, left)
        drawn = rng.choice(rows, size=taken, replace=False)
        wanted.setdefault(index, []).extend(start + int(i) for i in drawn)
        left -= taken
        if left <= 0:
            break
    return wanted


def render_preview(
    shards: ShardSet,
    chosen: PreviewSelection,
    split: str | None = None,
    seed: int = 0,
    by_identity: bool = False,
    policy: CaptionPolicy | None = None,
) -> str:
    """One self-contained HTML page with escaped texts. A picture that cannot be decoded is marked."""
    policy = policy or CaptionPolicy()
    groups: dict[Any, list[Sample]] = {}
    for sample in chosen.samples:
        groups.setdefault(sample.identity if by_identity else None, []).append(sample)
    page = {
        "dataset": shards.manifest.dataset,
        "fingerprint": shards.fingerprint,
        "split": split,
        "seed": seed,
        "rows": chosen.rows,
        "shown": len(chosen.samples),
        "groups": [
            {
                "title": _title(samples[0]) if by_identity else None,
                "samples": [_sample(s, policy, not by_identity) for s in samples],
            }
            for samples in groups.values()
        ],
    }
    return environment("reid.dataset.report").get_template("preview.html.j2").render(p=page)


def _title(sample: Sample) -> str:
    name = sample.labels.extra.get("identity")
    return f"Identity {sample.labels.pid}" + (f" ({name})" if name else "")


def _sample(sample: Sample, policy: CaptionPolicy, with_identity: bool) -> dict[str, Any]:
    labels = sample.labels
    known = [
        f"identity {labels.pid}" if with_identity else None,
        labels.split,
        "+".join(labels.roles) if labels.roles else None,
        None if labels.camid is None else f"camera {labels.camid}",
        None if labels.viewid is None else f"view {labels.viewid}",
        labels.location,
        labels.tracklet_id and f"tracklet {labels.tracklet_id}",
    ]
    attributes = [labels.attributes] * len(sample.captions)
    verdicts = judge_captions(sample.captions, attributes, policy)
    return {
        "name": labels.sample_id,
        "wide": any(i.width > 1.2 * i.height for i in sample.images.values()),
        "labels": [word for word in known if word],
        "views": _views(sample),
        "captions": [
            {**_caption(c), "faults": [r.text for r in v.reasons]}
            for c, v in zip(sample.captions, verdicts, strict=True)
        ],
        "attributes": _attributes(labels.attributes),
        "extra": sorted(labels.extra.items()),
    }


def _views(sample: Sample) -> list[dict[str, Any]]:
    name = sample.labels.sample_id
    views = []
    under: PILImage.Image | None = None
    for modality in VISUAL:
        image = sample.images.get(modality)
        if image is None:
            continue
        view: dict[str, Any] = {"modality": modality.value, **_origin(image)}
        view["size"] = f"{image.width} × {image.height}"
        try:
            picture = _small(image.image, f"{modality.value} of {name}")
            view["image"] = image_uri(encode_jpeg(np.asarray(picture), 85))
            under = under or picture
        except DataError as error:
            view["problem"] = str(error)
        views.append(view)
    if sample.mask is not None:
        views.insert(min(1, len(views)), _mask_view(sample.mask, under, name))
    return views


def _mask_view(mask: Mask, under: PILImage.Image | None, name: str) -> dict[str, Any]:
    view: dict[str, Any] = {"modality": "mask", "size": "", **_origin(mask)}
    try:
        whole = open_image(mask.image, f"mask of {name}").convert("L")
        share = float((np.asarray(whole) > 127).mean())
        view["image"] = image_uri(encode_jpeg(_overlay(whole, under), 85))
        score = "" if mask.score is None else f", score {mask.score:.2f}"
        view["note"] = f"{100 * share:.0f} % inside{score}"
    except DataError as error:
        view["problem"] = str(error)
    return view


def _overlay(mask: PILImage.Image, under: PILImage.Image | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture with the mask's inside tinted, its border drawn and its outside dimmed: (H, W, 3)."""
    if under is None:
        mask.thumbnail((LONGEST, LONGEST))
        under = PILImage.new("RGB", mask.size, "grey")
    inside = mask.resize(under.size, PILImage.Resampling.NEAREST).point(lambda v: 255 if v > 127 else 0)
    edge = np.asarray(inside.filter(ImageFilter.FIND_EDGES)) > 0  # (H, W)
    pixels = np.asarray(under.convert("RGB"), dtype=np.float32)  # (H, W, 3)
    tint = np.array(TINT, dtype=np.float32)
    on = (np.asarray(inside) > 0)[..., None]  # (H, W, 1)
    mixed = np.where(on, 0.65 * pixels + 0.35 * tint, 0.45 * pixels)
    mixed[edge] = tint
    return mixed.round().astype(np.uint8)


def _small(data: bytes, source: str) -> PILImage.Image:
    picture = open_image(data, source).convert("RGB")
    if max(picture.size) < 96:  # tiny ones are enlarged without smoothing, to see their pixels
        return picture.resize((picture.width * 3, picture.height * 3), PILImage.Resampling.NEAREST)
    picture.thumbnail((LONGEST, LONGEST))
    return picture


def _origin(part: Image | Caption | Mask) -> dict[str, Any]:
    generated = part.origin != "captured"
    facts = [
        part.origin,
        part.generator or "",
        f"parameters {part.params_hash}" if part.params_hash else "",
    ]
    facts.append(f"from {part.source_id}" if part.source_id else "")
    return {
        "generated": generated,
        "origin": (part.generator or part.origin) if generated else part.origin,
        "origin_title": ", ".join(t for t in facts if t),
        "image": None,
        "problem": "",
        "note": "",
    }


def _caption(caption: Caption) -> dict[str, Any]:
    sure = "" if caption.confidence is None else f"confidence {caption.confidence:.2f}"
    return {**_origin(caption), "text": caption.text, "note": sure}


def _attributes(attributes: Sequence[SampleAttribute]) -> list[dict[str, str]]:
    """Attributes with their sources where they differ, and confidences below 1."""
    several = len({a.source for a in attributes}) > 1
    doubtful = any(a.confidence not in (None, 1) for a in attributes)
    return [
        {
            "name": a.name,
            "value": a.value,
            "note": " ".join(
                [
                    *([a.source] if several and a.source else []),
                    *([f"{a.confidence:.2f}"] if doubtful and a.confidence is not None else []),
                ]
            ),
        }
        for a in attributes
    ]
