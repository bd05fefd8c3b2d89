"""Auxiliary inputs of what is asked: the caption and the mask that a model was given beside its modalities.

A run and a gallery record which generators made theirs. A query without a caption or mask gets the same
generator's, made here from its pictures, unless that needs downloaded weights; then, or where the data's own
were captured, the model's null input stands in, and the answer says so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid import storage
from reid.config import GenerateConfig
from reid.data.batches.auxiliary_inputs import decode_mask
from reid.data.batches.batch_row import BatchRow, Parts, RowPart
from reid.data.images import decode_rgb, encode_mask
from reid.errors import AnyReIDError
from reid.generate.registry import (
    BoundGenerator,
    GeneratedCaption,
    GeneratedMask,
    GeneratorInput,
    bind,
    registry,
)
from reid.modality import Modality, Subset, canonical
from reid.runs.auxiliary_record import TARGETS, Record, auxiliary_record
from reid.runs.run import Run


@dataclass(frozen=True)
class CompletedRow:
    """A row with its auxiliary inputs; what a client should know of them."""

    row: BatchRow
    degraded: bool
    notes: tuple[str, ...] = ()


class AuxiliaryMaker:
    """Completes rows as a record says. Safe to use from several threads."""

    def __init__(self, record: Record, seed: int = 0) -> None:
        self.record = {name: record.get(name) for name in TARGETS if name in record}
        self.seed = seed
        self._lock = threading.Lock()
        self._bound: dict[str, tuple[BoundGenerator, Any]] = {}
        self._notes: dict[str, str] = {}
        self._refused = {name: why for name in self.record if (why := self._prepare(name))}

    def _prepare(self, name: str) -> str:
        """Why an input cannot be made here; "" if it can."""
        made_by = self.record[name]
        if made_by is None:
            return f"No {name}: the data's own were not generated. Send one; the null input stands in."
        generator = str(made_by["generator"])
        entry = registry().get(generator)
        if entry is not None and entry.needs_weights:  # told before its weights are looked at
            return (
                f"No {name}: {generator} made the data's, and needs weights that are not loaded to "
                "answer queries. Send one; the null input stands in."
            )
        try:
            bound = bind(
                TARGETS[name], GenerateConfig(generator=generator, params=made_by.get("params") or {})
            )
        except AnyReIDError as error:
            return f"No {name}: {error} The null input stands in."
        if bound.params_hash != made_by.get("params_hash", bound.params_hash):
            self._notes[name] = (
                f"The {name} was made by {bound.entry.name} of another version than the data's."
            )
        self._bound[name] = (bound, bound.load())
        return ""

    def complete(self, rows: Sequence[BatchRow]) -> list[CompletedRow]:
        """The rows with every input of the record that they lack and that can be made.

        Raises DataError naming the modality of a picture that cannot be decoded.
        """
        found = [CompletedRow(row, degraded=False) for row in rows]
        for name in self.record:
            lacking = [i for i, done in enumerate(found) if not _given(done.row, name)]
            if name in self._refused:
                for i in lacking:
                    found[i] = _noted(found[i], self._refused[name], degraded=True)
            elif lacking:
                with self._lock:
                    self._make(name, lacking, found)
        return found

    def _make(self, name: str, lacking: Sequence[int], found: list[CompletedRow]) -> None:
        bound, made = self._bound[name]
        results = made([self._source(bound, found[i].row) for i in lacking])
        for i, result in zip(lacking, results, strict=True):
            row = found[i].row
            if isinstance(result, GeneratedMask):
                done = replace(found[i], row=replace(row, mask=encode_mask(result.mask)))
            elif isinstance(result, GeneratedCaption):
                done = replace(found[i], row=replace(row, caption=RowPart(result.text, bound.entry.name)))
            else:
                done = _noted(found[i], f"No {name}: {result} The null input stands in.", degraded=True)
            note = self._notes.get(name)
            found[i] = done if note is None else _noted(done, note, degraded=done.degraded)

    def _source(self, bound: BoundGenerator, row: BatchRow) -> GeneratorInput:
        entry, seen = bound.entry, {m: p for m, p in row.parts.items() if isinstance(p.content, bytes)}
        images = {
            m: decode_rgb(p.content, p.source)
            for m, p in seen.items()
            if m in entry.reads and isinstance(p.content, bytes)
        }
        digests = [
            storage.sha256(p.content) for m in canonical(seen) if isinstance((p := seen[m]).content, bytes)
        ]
        first = next((images[m] for m in entry.reads if m in images), None)
        mask = None
        if row.mask is not None and first is not None and entry.takes_mask:
            mask = decode_mask(row.mask, "mask", first.shape[:2]).astype(bool)
        rng = bound.rng(storage.sha256("".join(digests).encode()), self.seed)
        return GeneratorInput("query", images, mask, rng)


def _given(row: BatchRow, name: str) -> bool:
    if name == "mask":
        return row.mask is not None
    return row.caption is not None and bool(str(row.caption.content).strip())


def _noted(done: CompletedRow, note: str, degraded: bool) -> CompletedRow:
    return replace(done, degraded=degraded or done.degraded, notes=(*done.notes, note))


class QueryInputs:
    """What a run's model is given of a query or a new item: its parts, and its auxiliary inputs.

    Those are made as the gallery's were, else as the training set's; `notes` tell where the two differ.
    """

    def __init__(self, run: Run, provenance: Mapping[str, Any]) -> None:
        self.auxiliary = run.model.auxiliary
        self.text_is_caption = run.text_is_caption
        trained = auxiliary_record(self.auxiliary, run.folder.info.get("generators") or {})
        indexed = provenance.get("auxiliary")
        self.record = trained if indexed is None else {name: indexed.get(name) for name in trained}
        self._maker = AuxiliaryMaker(self.record, run.config.build.seed)
        pairs = [(name, _maker_of(trained[name]), _maker_of(self.record[name])) for name in trained]
        self.notes = tuple(
            f"The {name} of training came from {own}, that of the gallery from {other}."
            for name, own, other in pairs
            if own != other
        )

    def asked(self, parts: Parts) -> Subset:
        """The modalities of a query; its text is none of them where the model takes it as a caption."""
        subset = canonical(parts)
        others = tuple(m for m in subset if m is not Modality.TEXT)
        return others if others and self.text_is_caption else subset

    def rows(self, contents: Sequence[tuple[Parts, bytes | None]]) -> list[CompletedRow]:
        """Rows of (parts, mask) from an unknown camera, with the auxiliary inputs that could be had."""
        rows = []
        for parts, mask in contents:
            named = {m: RowPart(content, source=m.value) for m, content in parts.items()}
            caption = named.get(Modality.TEXT) if self.text_is_caption else None
            rows.append(BatchRow(named, caption=caption, mask=mask))
        completed = self._maker.complete(rows)
        if "mask" in self.auxiliary:
            return completed
        unused = "Not used: the mask; this model takes none."
        return [c if c.row.mask is None else _noted(c, unused, degraded=False) for c in completed]


def _maker_of(made_by: Mapping[str, Any] | None) -> str:
    if made_by is None:
        return "no generator"
    return f"{made_by.get('generator')} ({made_by.get('params_hash')})"
