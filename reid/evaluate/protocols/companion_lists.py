"""Lists of companions: what was drawn for an evaluation, written so that it can be repeated, or read.

{"version": 1, "sha256": "<of companions>",
 "companions": {"<anchor modality>": {"<item>": {"<modality>": ["<item>", …]}}}}

An item is a `sample_id`, of a caption "<sample_id>#<its place from 0>". Companions stand in the order in
which they are taken: a query with two sketches has the first two. An empty list says that there are none:
this item asks no such query.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from reid import storage
from reid.config.protocols.companions import CompanionsConfig
from reid.config.protocols.query_names import ALL, AskedQuery
from reid.errors import AnyReIDError, DataError
from reid.evaluate.protocols.gathering import Gathered, PartItems, anchor_items, wanted
from reid.evaluate.protocols.item_table import ABSENT
from reid.evaluate.protocols.label_table import Ints, LabelTable
from reid.modality import Modality, parse_modality

VERSION = 1
FIELD = "evaluate.protocol.companions"
FORM = '{"companions": {"<anchor modality>": {"<sample_id>": {"<modality>": ["<sample_id>", …]}}}}'
Companions = dict[Modality, dict[str, dict[Modality, list[str]]]]
"""Anchor -> its item -> modality -> the items that accompany it."""


@dataclass(frozen=True, eq=False)
class CompanionList:
    """The companions of anchor items, by name; `where` is what messages call the list.

    >>> listed = CompanionList({Modality.NIR: {"a": {Modality.SKETCH: ["b"]}}}, "drawn")
    >>> CompanionList.parsed(listed.to_json(), "again").sha256 == listed.sha256
    True
    """

    companions: Companions
    where: str

    @cached_property
    def sha256(self) -> str:
        """64 hex digits of SHA-256 over the companions as JSON with sorted keys and no spaces."""
        text = json.dumps(self.companions, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The list as a file, one line an anchor item."""
        lines = []
        for anchor, items in sorted(self.companions.items()):
            rows = [f"{json.dumps(name)}: {json.dumps(items[name])}" for name in sorted(items)]
            lines.append(f"{json.dumps(anchor)}: {{\n" + ",\n".join(rows) + "\n}")
        head = f'{{"version": {VERSION}, "sha256": "{self.sha256}", "companions": {{\n'
        return (head + ",\n".join(lines) + "\n}}\n").encode()

    @staticmethod
    def read(config: CompanionsConfig) -> CompanionList | None:
        """The list that a protocol names; None where it names none.

        Raises DataError for a file that is none, that was changed since it was written, or that has another
        hash than the configuration asks for.
        """
        if config.file is None:
            return None
        found = CompanionList.parsed(storage.read_bytes(storage.absolute(config.file)), config.file)
        found.check_hash(config)
        return found

    @staticmethod
    def parsed(data: bytes, where: str) -> CompanionList:
        """The list in a file's bytes. Raises DataError as `read`."""
        try:
            tree = json.loads(data)
            companions = _typed(tree["companions"])
            version, stated = tree.get("version", VERSION), tree.get("sha256")
        except (ValueError, KeyError, TypeError, AttributeError, AnyReIDError) as error:
            raise DataError(
                f"{FIELD}.file: {where} is no list of companions ({error or type(error).__name__}). "
                f"Give {FORM}."
            ) from None
        if version != VERSION:
            raise DataError(f"{FIELD}.file: {where} is of version {version!r}; this reads {VERSION}.")
        found = CompanionList(companions, where)
        if stated is not None and stated != found.sha256:
            raise DataError(
                f"{FIELD}.file: {where} states the hash {stated}, and its companions have {found.sha256}: it "
                "was changed after it was written. Take the original; a list of your own states none."
            )
        return found

    def check_hash(self, config: CompanionsConfig) -> None:
        """Raise DataError if the configuration asks for another hash."""
        if config.sha256 is not None and config.sha256 != self.sha256:
            raise DataError(
                f"{FIELD}.sha256: {self.where} has the hash {self.sha256}, not {config.sha256}: these are "
                "not the companions of that evaluation. Name its list (companions.json beside its report) in "
                f"{FIELD}.file, or the same set, rows and seed."
            )

    def gathered(
        self,
        config: CompanionsConfig,
        table: LabelTable,
        asked: AskedQuery,
        items: Mapping[Modality, PartItems],
    ) -> Gathered:
        """The companions that a row takes from this list.

        Raises DataError for an anchor item that is not listed, and for a companion that is none of the items.
        """
        anchors = anchor_items(config, table, asked, items)
        listed = self.companions.get(anchors.modality, {})
        names = item_names(table, anchors)
        entries = [listed.get(name) for name in names]
        if None in entries:
            lost = [name for name, entry in zip(names, entries, strict=True) if entry is None]
            raise DataError(
                f"{FIELD}.file: {self.where} has no companions for {len(lost)} of {len(names)} "
                f"{anchors.modality} items of the queries (first: {lost[0]!r}); {_FITS}"
            )
        picks = {}
        for modality, number in wanted(asked).items():
            told = [(entry or {}).get(modality) for entry in entries]
            if None in told:
                name = names[told.index(None)]
                raise DataError(
                    f"{FIELD}.file: {self.where} names no {modality} for the {anchors.modality} item "
                    f"{name!r} (an empty list says that it has none); {_FITS}"
                )
            chosen = [(own or [])[: number or None] for own in told]
            picks[modality] = self._places(table, items[modality], chosen, number)
        return Gathered(asked, anchors, items, picks)

    def check_fits(self, table: LabelTable, items: Mapping[Modality, PartItems]) -> None:
        """Raise DataError for an item that the set does not have, or a companion of another identity.

        Args:
            table: the labels of the evaluated splits.
            items: what may become a part of a query, for each modality that the set has.
        """
        places = {
            m: dict(zip(item_names(table, of), of.rows.tolist(), strict=True)) for m, of in items.items()
        }
        for anchor, listed in self.companions.items():
            for name, companions in listed.items():
                row = self._row(places, anchor, name)
                for modality, others in companions.items():
                    for other in others:
                        found = self._row(places, modality, other)
                        if table.identity[found] != table.identity[row]:
                            raise DataError(
                                f"{FIELD}.file: {self.where} joins {name!r} and {other!r}, which show two "
                                f"identities; {_FITS}"
                            )

    def _row(self, places: Mapping[Modality, Mapping[str, int]], modality: Modality, name: str) -> int:
        row = places.get(modality, {}).get(name)
        if row is None:
            raise DataError(
                f"{FIELD}.file: {self.where} names {name!r}, and no query sample of the set has it as "
                f"{modality}; {_FITS}"
            )
        return row

    def _places(
        self, table: LabelTable, found: PartItems, chosen: Sequence[Sequence[str]], number: int
    ) -> Ints:
        """(n, K) the places of the named items."""
        width = number if number != ALL else max(map(len, chosen), default=0)
        picks = np.full((len(chosen), width), ABSENT, np.int64)
        place = {name: i for i, name in enumerate(item_names(table, found))}
        for i, names in enumerate(chosen):
            for k, name in enumerate(names):
                if name not in place:
                    self._row({}, found.modality, name)
                picks[i, k] = place[name]
        return picks


_FITS = (
    "a list fits the set, split and roles that it was written for. Draw anew (file: null), or name another."
)


def list_of(table: LabelTable, rows: Iterable[Gathered]) -> CompanionList:
    """The list of what was gathered for the rows of an evaluation.

    Of an item that asks in several rows, each modality has the companions of the row that takes most.
    """
    found: Companions = {}
    for row in rows:
        own = found.setdefault(row.anchors.modality, {})
        names = item_names(table, row.anchors)
        for name in names:
            own.setdefault(name, {})
        for modality, picks in row.picks.items():
            listed = item_names(table, row.found[modality])
            for name, places in zip(names, picks.tolist(), strict=True):
                companions = [listed[place] for place in places if place != ABSENT]
                if len(companions) >= len(own[name].get(modality, ())):
                    own[name][modality] = companions
    return CompanionList(found, "the draw")


def item_names(table: LabelTable, items: PartItems) -> list[str]:
    """The name of each item in a list: its sample, and of a caption its place."""
    names: list[str] = table.names.take(pa.array(items.rows)).to_pylist()
    if items.caption is None:
        return names
    return [f"{name}#{place}" for name, place in zip(names, items.caption.tolist(), strict=True)]


def _typed(tree: Any) -> Companions:
    """The companions of a file. Raises TypeError or AttributeError for another form."""
    return {
        parse_modality(anchor): {
            name: {parse_modality(m): _strings(others) for m, others in own.items()}
            for name, own in items.items()
        }
        for anchor, items in tree.items()
    }


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r} is no list of items")
    if len(set(value)) < len(value):
        raise TypeError(f"{value!r} names an item twice")
    return value
