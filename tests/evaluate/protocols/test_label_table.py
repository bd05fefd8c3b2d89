"""Labels as columns: the same labels, queries, items, keys and codes as one by one."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest

from reid.evaluate.protocols import label_columns
from reid.evaluate.protocols.items import Provenance, SampleLabels, parts_key
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.evaluate.protocols.string_codes import first_of_two, string_codes
from reid.modality import Modality, Subset

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT
CAPTURED = Provenance()


def rows(count: int = 60) -> list[SampleLabels]:
    """Captures of two data sets with every kind of label, some unknown, and parts of every origin."""
    found = []
    for n in range(count):
        images = {RGB: CAPTURED} if n % 3 else {NIR: CAPTURED, RGB: Provenance("generated", f"s{n - 1}")}
        if n % 4:
            images |= {SKETCH: Provenance("generated", "elsewhere" if n % 5 == 0 else None)}
        captions = tuple(Provenance("generated", f"s{n}") if k else CAPTURED for k in range(n % 3))
        found.append(
            SampleLabels(
                f"s{n}",
                "two" if n % 7 == 0 else "one",
                pid=n // 6,
                camid=None if n % 11 == 0 else n % 4,
                viewid=n % 2 or None,
                roles=(None, ("query",), ("query", "gallery"))[n % 3],
                images=images,
                captions=captions,
                location=None if n % 5 else f"gate {n % 2}",
                content_hash=None if n % 9 == 0 else f"hash {n // 2}",
            )
        )
    return found


def test_a_table_reads_as_the_labels_it_was_made_of() -> None:
    labels = rows()
    table = label_table_of(labels)
    assert list(table) == labels
    assert list(table[5:20:3]) == labels[5:20:3]
    assert list(table.take(np.array([7, 3, 50]))) == [labels[7], labels[3], labels[50]]
    assert label_table_of(table) is table


def test_labels_in_several_parts_and_in_a_file_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_columns, "SPILL", 1000)
    monkeypatch.setattr(label_columns, "CHUNK", 7)
    assert list(label_table_of(rows())) == rows()


@pytest.mark.parametrize("subset", [(RGB,), (TEXT,), (SKETCH,), (RGB, TEXT), (NIR, SKETCH)])
@pytest.mark.parametrize("name", ["cross_camera", "roles", "sysu_all", "all"])
def test_codes_by_column_are_those_of_the_items_one_by_one(name: str, subset: Subset) -> None:
    """Which pairs are excluded, and every key, are alike for tables and for lists of their items."""
    table, protocol = label_table_of(rows()), get_protocol(name)
    queries = protocol.queries(table, subset).items
    gallery = protocol.mixed_gallery(table, [(RGB,), (NIR,), (TEXT,)]).items
    columns = label_arrays_of(queries, gallery, table)
    singly = label_arrays_of(list(queries), list(gallery), table)
    assert _dropped(protocol, *columns) == _dropped(protocol, *singly)
    for of_columns, of_items in zip(columns, singly, strict=True):
        for field in fields(of_columns):
            one, other = getattr(of_columns, field.name), getattr(of_items, field.name)
            if one is None or other is None:  # what accompanies an anchor: nothing here
                assert one is other
                continue
            assert [_known(r) for r in one.tolist()] == [_known(r) for r in other.tolist()], field.name
    for side, items in (("query", queries), ("gallery", gallery)):
        assert list(items.keys()) == [parts_key(item.parts, side) for item in items]  # type: ignore[arg-type]


def _known(codes: int | list[int]) -> object:
    return sorted({c for c in codes if c >= 0}) if isinstance(codes, list) else codes


def _dropped(protocol: Protocol, q: object, g: object) -> list[list[bool]]:
    return protocol.exclude_sources(q, g).tolist()  # type: ignore[arg-type]


def test_constant_columns_are_held_once() -> None:
    labels = [SampleLabels(f"s{n}", "one", n, images={RGB: CAPTURED}) for n in range(100)]
    table = label_table_of(labels)
    gallery = get_protocol("all").gallery(table, [RGB]).items
    q, g = label_arrays_of(gallery, gallery, table)  # type: ignore[arg-type]
    assert {column.stride(0) for column in (g.camid, g.viewid, g.location, g.modalities)} == {0}
    assert q.pid.tolist() == g.pid.tolist()


def test_equal_strings_have_equal_codes_whatever_their_length_and_place() -> None:
    names = ["", "a", "ab", "ba", "a" * 90, "é", "a"]
    codes = string_codes(pa.chunked_array([names[:3], names[3:]], pa.large_string())).tolist()
    assert len(set(codes)) == 6 and codes[1] == codes[6]
    assert codes[2:5] == string_codes(pa.array(names, pa.large_string()).slice(2, 3)).tolist()
    assert first_of_two(pa.chunked_array([names], pa.large_string())) == "a"
    assert first_of_two(pa.chunked_array([names[:6]], pa.large_string())) is None
