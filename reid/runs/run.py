"""A loaded run: a trained embedder in memory."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np
import torch

from reid.comparison.calibration import Calibration
from reid.comparison.terms import RefusedPair
from reid.config import Config
from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.collate import Collator
from reid.data.batches.tokens import unread
from reid.data.images import SensorSettings
from reid.errors import UnsupportedPairing, UsageError, WeightsError
from reid.evaluate.several_samples import pooled
from reid.modality import Modality, Subset, canonical, subset_name
from reid.models.base import ModelContext, ReIDModel, Side
from reid.models.registry import build_model
from reid.nn.classifier.placement import ClassifierPlacement, classifiers_placed
from reid.runs.comparison import Comparison
from reid.runs.contents import Content, check_alike, content_views, plain_parts, row_parts
from reid.runs.embedding import Vectors, embed_rows
from reid.runs.folder import RunFolder
from reid.runs.identities import LabelMap

log = logging.getLogger(__name__)
SIDES: tuple[Side, Side] = ("query", "gallery")


def model_context(config: Config, labels: LabelMap) -> ModelContext:
    """What the model is built for."""
    return ModelContext(
        num_classes=len(labels.classes),
        num_cameras=max(1, len(labels.cameras)),
        height=config.data.height,
        width=config.data.width,
        modalities=config.data.modalities,
    )


class Run:
    """A trained embedder in memory; `reid.load` makes one."""

    def __init__(self, folder: RunFolder, model: ReIDModel, device: torch.device) -> None:
        self.folder = folder
        self.uri = folder.uri
        self.fingerprint = folder.fingerprint
        self.config = folder.config
        self.labels = folder.labels()
        self.model = model
        self.device = device
        self.collator = Collator(self.config.data, self.labels.camera_labels, auxiliary=model.auxiliary)

    def __repr__(self) -> str:
        queries, galleries = (subset_name(self.takes(side)) for side in SIDES)
        what = queries if queries == galleries else f"{queries} asked of {galleries}"
        return (
            f"<Run {self.config.name} ({self.fingerprint}): {self.config.model.name}, "
            f"{self.model.regime.value.replace('_', '-')}, {what}, {self.dim} dimensions, on {self.device}, "
            f"{'not calibrated' if self.folder.why_uncalibrated else 'calibrated'}>"
        )

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self.model.dim

    @cached_property
    def calibration(self) -> Calibration | None:
        """What its similarities mean, read at the first use; None if nobody could tell."""
        return self.folder.calibration()

    @property
    def sensors(self) -> SensorSettings:
        """How the pictures of its training set became 8 bits; whatever it is given is read so, too."""
        return SensorSettings.of(self.config.data)

    @property
    def text_is_caption(self) -> bool:
        """Whether the model takes a sentence as a caption beside its modalities, not as one of them."""
        return "caption" in self.model.auxiliary and Modality.TEXT not in self.model.query_modalities

    def takes(self, side: Side) -> Subset:
        """The modalities that the model takes on a side. Raises UsageError for an unknown side."""
        known = self.model.query_modalities if check_side(side) == "query" else self.model.gallery_modalities
        return canonical(known)

    def embed_rows(self, rows: Sequence[BatchRow], side: Side, batch_size: int = 64) -> Vectors:
        """(n, dim) float32 unit vectors of rows whose parts carry camera ids."""
        return embed_rows(self.model, self.collator, rows, side, batch_size, self.device)

    def embed(
        self, contents: Content | Sequence[Content], side: Side = "query", batch_size: int = 64
    ) -> Vectors:
        """The vector of one capture, (dim,), or of several in a list or tuple, (B, dim): float32 of norm 1.

        A capture is a picture, a sentence, or a mapping of both by modality ("rgb" or Modality.RGB). A
        picture is a path, an s3:// uri, encoded bytes, a PIL image, or pixels (H, W, 3) or (H, W) uint8 in
        0..255; a bare one is taken as rgb. `reid.runs.contents` says when a bare string is a file. Pictures
        of any size are resized as in training; the camera counts as unknown. `side` matters to models that
        embed queries and galleries differently. `batch_size` bounds the memory and changes no vector.

        A query may have several samples of a modality, `{"sketch": ["a.png", "b.png"]}`: its vector is the
        unit mean of the vectors of every combination of one sample a modality, as in an evaluation.

        A model that uses captions or masks beside its modalities gets none here, unless a sentence is given
        where it takes a caption, and a warning is logged; `Retriever` makes them as training did.

        Raises UsageError for an unknown side or modality, an empty mapping, a modality that the model does
        not take on this side, or several samples on the gallery side, and DataError for a file that is
        missing or a picture that cannot be decoded.

        >>> run = reid.load("runs/train/mine")
        >>> run.embed("a.jpg").shape
        (16,)
        >>> run.embed([{"rgb": "a.jpg", "text": "a red coat"}, "a blue bag"], side="gallery").shape
        (2, 16)
        """
        check_side(side)
        if not _is_list(contents):
            vector: Vectors = self._embed_contents([(cast(Content, contents), "")], side, batch_size)[0]
            return vector
        found = [np.zeros((0, self.dim), np.float32)]
        chunk = 8 * batch_size  # rows hold their encoded pictures
        for start in range(0, len(contents), chunk):
            part = contents[start : start + chunk]
            named = [(one, f"Row {start + i}") for i, one in enumerate(part)]
            found.append(self._embed_contents(named, side, batch_size))
        return np.concatenate(found)

    def _embed_contents(
        self, contents: Sequence[tuple[Content, str]], side: Side, batch_size: int
    ) -> Vectors:
        """(n, dim) of captures, each with its name in messages; of several samples their mean."""
        rows = [self._rows(content, side, where) for content, where in contents]
        vectors = self._embed(list(chain.from_iterable(rows)), side, batch_size)
        return pooled(vectors, np.cumsum([0, *map(len, rows)]))

    def _rows(self, content: Content, side: Side, where: str) -> list[BatchRow]:
        """The rows of a capture, several where a query has several samples of a modality.

        Raises UsageError for several samples of an item, and where their rows differ in modalities.
        """
        views = content_views(content, where)
        name = f"{where}: " if where else ""
        if len(views) > 1 and side == "gallery":
            raise UsageError(
                f"{name}Several samples of a modality make a query, not an item: "
                "give each as an item of its own."
            )
        rows = [self._row(view, side, where) for view in views]
        check_alike([row.parts for row in rows], name)
        return rows

    def compare(self, query: Content, gallery: Content, prior: float = 0.5) -> Comparison:
        """How alike two captures are: the model's score of the pair, what it means where that is calibrated.

        Both are given as to `embed`, the query perhaps with several samples of a modality; a matched model
        compares the modalities that both have. `prior` in (0, 1) is the chance that they show one object
        before they are looked at.

        Raises what `embed` raises, UnsupportedPairing for modalities that the model cannot compare, and
        UsageError for a prior outside (0, 1).

        >>> reid.load("runs/train/mine").compare("a.jpg", "b.jpg")
        <Comparison of rgb with rgb: similarity ...>
        """
        if not 0 < prior < 1:
            raise UsageError(f"prior: {prior:g} is not a chance between 0 and 1, both excluded.")
        given = [self._rows(query, "query", "query"), self._rows(gallery, "gallery", "gallery")]
        rows = [views[0] for views in given]
        comparison = self.model.comparison(rows[0].parts, rows[1].parts)
        if isinstance(comparison, RefusedPair):
            raise UnsupportedPairing(comparison.message)
        used = comparison.query, comparison.gallery
        vectors = []
        for views, subset, side in zip(given, used, SIDES, strict=True):
            kept = [replace(row, parts={m: row.parts[m] for m in subset}) for row in views]
            vectors.append(pooled(self._embed(kept, side, len(kept)), np.array([0, len(kept)]))[0])
        notes = [
            f"not used: {subset_name(unused)} of the {side}"
            for row, subset, side in zip(rows, used, SIDES, strict=True)
            if (unused := set(row.parts) - set(subset))
        ]
        similarity = self.model.comparison_rule.score(comparison, vectors[0], vectors[1])
        asked, found = map(subset_name, used)
        pair = self.calibration.of(asked, found) if self.calibration else None
        if pair is None:
            notes.append(f"not calibrated ({self.why_uncalibrated(asked, found)})")
            return Comparison(similarity, asked, found, notes=tuple(notes))
        ratio, probability = pair.likelihood_ratio(similarity), pair.probability(similarity, prior)
        return Comparison(similarity, asked, found, ratio, probability, prior, tuple(notes))

    def why_uncalibrated(self, query: str, gallery: str) -> str:
        """Why a pairing of subsets, by their names, has no calibration."""
        if self.folder.why_uncalibrated:
            return self.folder.why_uncalibrated
        lacking = self.calibration.lacking if self.calibration else {}
        name = query if query == gallery else f"{query}->{gallery}"
        return lacking.get(name, "validation compared no such subsets")

    def _row(self, content: Content, side: Side, where: str) -> BatchRow:
        """A row of what the model takes on this side; UsageError if something else is given."""
        parts = row_parts(content, where, self.sensors)
        given = {m: part.content for m, part in parts.items()}
        sources = {m: part.source for m, part in parts.items()}
        plain, notes = plain_parts(given, self.sensors, self.takes(side), sources)
        if cut := unread(str(plain.get(Modality.TEXT, ""))):
            notes.append(f"text: {cut}.")
        for note in notes:
            log.warning("%s%s", f"{where}: " if where else "", note)
        parts = {m: replace(parts.get(m, RowPart(b"", m.value)), content=plain[m]) for m in plain}
        caption = None
        if self.text_is_caption and len(parts) > 1:
            caption = parts.pop(Modality.TEXT, None)
        known = self.takes(side)
        if stray := [m for m in parts if m not in known]:
            bare = " A bare picture is taken as rgb." if not isinstance(content, Mapping) else ""
            raise UsageError(
                f"{where + ': ' if where else ''}This model does not take {subset_name(stray)} on the {side} "
                f"side; it takes any subset of {subset_name(known)}.{bare}"
            )
        return BatchRow(parts, caption=caption)

    def _embed(self, rows: Sequence[BatchRow], side: Side, batch_size: int) -> Vectors:
        lacking = [
            name
            for name in sorted(self.model.auxiliary)
            if name == "mask" or any(row.caption is None for row in rows)
        ]
        if lacking and rows:
            log.warning(
                "%s also uses a %s, which it is not given here: its vectors differ from a gallery's. Search "
                "with reid.Retriever, which makes it as training did.",
                self.config.model.name,
                " and a ".join(lacking),
            )
        return self.embed_rows(rows, side, batch_size)


def load_run(uri: str | Path, device: str | torch.device = "cpu") -> Run:
    """Load a finished run (`reid.load`): a run folder, or a folder of runs, of which it takes the newest.

    `uri` is local or s3://; `device` is torch's, e.g. "cuda". Raises WeightsError when no finished run is
    there or its weights do not fit its own configuration.

    >>> reid.load("runs/train/mine")
    <Run mine (...): baseline, any-to-any, rgb+nir+sketch+text, 16 dimensions, on cpu, ...>
    """
    folder = RunFolder.open(str(uri))
    config, labels = folder.config, folder.labels()
    classifiers = ClassifierPlacement(kept=folder.info.get("classifiers") != "left out")
    with classifiers_placed(classifiers):
        model = build_model(config.model, model_context(config, labels))
    try:
        model.load_state_dict(folder.weights())
    except RuntimeError as error:
        raise WeightsError(f"{folder.uri}: weights do not fit the model ({error}).") from None
    target = torch.device(device)
    return Run(folder, model.to(target).eval(), target)


def check_side(side: str) -> Side:
    """A side as given. Raises UsageError, with the nearest one, unless it is query or gallery."""
    if side not in SIDES:
        near = difflib.get_close_matches(str(side).lower(), SIDES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"side: {side!r} is neither 'query' nor 'gallery'.{hint}")
    return side


def _is_list(contents: Content | Sequence[Content]) -> TypeGuard[Sequence[Content]]:
    return isinstance(contents, Sequence) and not isinstance(contents, str | bytes | bytearray | memoryview)
