"""Queries that hang on one part: who asks, what accompanies it, what is averaged, and what does not count."""

from __future__ import annotations

from dataclasses import fields

import pytest

from reid.config.protocols.query_names import ALL, AskedQuery, parse_query
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import UsageError
from reid.evaluate.protocols.item_table import Selection
from reid.evaluate.protocols.items import ProtocolQuery, SampleLabels, parts_key
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import Modality
from tests.support.retrieval.evaluation_rows import CAPTURED, GENERATED, infrared, row

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT


def drawing(name: str, pid: int, camid: int | None = None) -> SampleLabels:
    return row(name, pid, camid, images={SKETCH: CAPTURED}, content_hash=name)


def crowd(people: int = 6) -> list[SampleLabels]:
    """Of each person three sketches, two infrared pictures and two photos with two sentences each."""
    found = []
    for pid in range(people):
        found += [drawing(f"sketch{pid}{i}", pid, i) for i in range(3)]
        found += [infrared(f"nir{pid}{i}", pid, 3 + i, location=f"gate {i}") for i in range(2)]
        captions = (CAPTURED, GENERATED)
        found += [row(f"photo{pid}{i}", pid, i, captions=captions) for i in range(2)]
    return found


def asked(
    name: str, labels: list[SampleLabels], companions: dict[str, object] | None = None, **fields: object
) -> Selection[ProtocolQuery]:
    protocol = Protocol(ProtocolConfig.model_validate({"companions": companions, **fields}))
    query = parse_query(name)
    return protocol.queries(labels, query.subset, query)


def partners(found: Selection[ProtocolQuery], anchor: Modality, other: Modality) -> dict[str, str]:
    return {q.parts[anchor].sample_id: q.parts[other].sample_id for q in found.items}


def test_each_item_of_the_anchor_asks_once_with_companions_of_its_identity() -> None:
    labels = crowd()
    by_nir, by_sketch = asked("nir+sketch@nir", labels), asked("nir+sketch@sketch", labels)
    assert [q.parts[NIR].sample_id for q in by_nir.items] == [r.sample_id for r in labels if NIR in r.images]
    assert [q.parts[SKETCH].sample_id for q in by_sketch.items] == [
        r.sample_id for r in labels if SKETCH in r.images
    ]
    pid = {r.sample_id: r.pid for r in labels}
    for query in (*by_nir.items, *by_sketch.items):
        assert {pid[part.sample_id] for part in query.parts.values()} == {query.pid}
        assert list(query.parts) == [NIR, SKETCH]  # in canonical order, whatever the anchor
    assert [q.camid for q in by_nir.items][:2] == [3, 4]  # of the anchor


def test_a_sentence_is_an_anchor_item_and_a_companion_of_its_own() -> None:
    labels = crowd()
    by_text = asked("sketch+text@text", labels)
    assert [(q.parts[TEXT].sample_id, q.parts[TEXT].caption_index) for q in by_text.items][:4] == [
        ("photo00", 0),
        ("photo00", 1),
        ("photo01", 0),
        ("photo01", 1),
    ]
    said = {
        (q.parts[TEXT].sample_id, q.parts[TEXT].caption_index)
        for q in asked("sketch+text@sketch", labels).items
    }
    assert len(said) > 6
    per_image = asked("sketch+text@text", labels, query={"one_per": "image"})
    assert len(per_image.items) == 12


def test_one_draw_of_an_anchor_item_serves_every_subset_and_every_number() -> None:
    labels = crowd()
    pair = partners(asked("nir+sketch@nir", labels), NIR, SKETCH)
    assert partners(asked("nir+sketch+text@nir", labels), NIR, SKETCH) == pair
    several = asked("nir+sketch*2@nir", labels)
    assert partners(several, NIR, SKETCH) == pair
    more = [[p.sample_id for m, p in q.listed if m is SKETCH] for q in several.items]
    assert all(len(set(names)) == 2 for names in more)


def test_a_draw_follows_the_seed_and_neither_the_order_nor_the_rest_of_the_data() -> None:
    labels = crowd()

    def draw(labels: list[SampleLabels], seed: int = 0) -> dict[str, str]:
        return partners(asked("nir+sketch@nir", labels, {"seed": seed}), NIR, SKETCH)

    assert draw(labels) == draw(labels[::-1])
    assert len({tuple(sorted(draw(labels, seed).items())) for seed in range(10)}) == 10
    lost = next(iter(draw(labels).values()))
    without = draw([r for r in labels if r.sample_id != lost])
    assert {k: v for k, v in draw(labels).items() if v != lost}.items() <= without.items()


def test_draws_are_even() -> None:
    labels = [drawing(f"s{i}", 0) for i in range(4)] + [infrared(f"n{i}", 0) for i in range(2000)]
    drawn = list(partners(asked("nir+sketch@nir", labels), NIR, SKETCH).values())
    assert all(abs(drawn.count(f"s{i}") - 500) < 80 for i in range(4))


def test_an_anchor_without_companions_asks_nothing_and_is_counted() -> None:
    labels = [*crowd(2), infrared("alone", 9)]
    found = asked("nir+sketch@nir", labels)
    assert "alone" not in [q.query_id for q in found.items]
    assert found.lacking == 1
    four = asked("sketch*4@sketch", labels)
    assert (len(four.items), four.lacking) == (0, 6)


def test_the_anchors_own_sample_may_be_left_out() -> None:
    labels = [row(f"c{i}", 0, images={RGB: CAPTURED, SKETCH: CAPTURED}) for i in range(3)]
    found = partners(asked("rgb+sketch@rgb", labels, {"captures": "others"}), RGB, SKETCH)
    assert all(anchor != other for anchor, other in found.items())
    drawn = [
        partners(asked("rgb+sketch@rgb", labels, {"seed": seed}), RGB, SKETCH).items() for seed in range(9)
    ]
    assert any(anchor == other for draw in drawn for anchor, other in draw)


def test_several_samples_are_others_of_the_identity_and_all_of_them_make_one_query() -> None:
    labels = crowd()
    two = asked("sketch*2@sketch", labels).items
    assert len(two) == 18
    assert all(len({p.sample_id for _, p in q.listed}) == 2 for q in two)
    together = asked("sketch*all@sketch", labels).items
    assert [q.pid for q in together] == list(range(6))
    assert {p.sample_id for _, p in together[2].listed} == {"sketch20", "sketch21", "sketch22"}
    assert len(together[2].views) == 3


def test_all_samples_of_one_camera_may_be_a_query() -> None:
    labels = [row(f"p{i}", 0, camid=i % 2) for i in range(5)] + [row(f"u{i}", 0) for i in range(2)]
    found = asked("rgb*all@rgb", labels, {"within": "camera"}).items
    assert [sorted(p.sample_id for _, p in q.listed) for q in found] == [
        ["p0", "p2", "p4"],
        ["p1", "p3"],
        ["u0", "u1"],  # no camera is known
    ]


def test_views_take_one_sample_of_each_modality_in_every_combination() -> None:
    query = asked("nir*2+sketch*3@nir", crowd()).items[0]
    pairs = {tuple(part.sample_id for part in view.values()) for view in query.views}
    assert len(query.views) == len(pairs) == 6
    with pytest.raises(UsageError, match=r"sketch\*all.* 300 samples has 300 combinations"):
        asked("sketch*all@sketch", [drawing(f"s{i}", 0) for i in range(300)])


@pytest.mark.parametrize(
    "name",
    ["nir+sketch@nir", "sketch+text@text", "sketch*2@sketch", "sketch*all+text*2@text", "rgb*2+nir@nir"],
)
@pytest.mark.parametrize("rule", ["same_camera", "same_scene", "camera", "location", "source_camera"])
def test_codes_by_column_are_those_of_the_queries_one_by_one(name: str, rule: str) -> None:
    table = label_table_of(crowd())
    protocol = Protocol(ProtocolConfig.model_validate({"exclude": [rule, "same_sample", "identical_file"]}))
    query = parse_query(name)
    queries = protocol.queries(table, query.subset, query).items
    gallery = protocol.gallery(table, [RGB]).items
    columns = label_arrays_of(queries, gallery, table)
    singly = label_arrays_of(list(queries), list(gallery), table)
    assert protocol.exclude(*columns).tolist() == protocol.exclude(*singly).tolist()
    for field in fields(columns[0]):
        one, other = (getattr(side[0], field.name) for side in (columns, singly))
        assert (one is None) == (other is None), field.name
    assert [list(view) for view in queries.views()] == [q.views for q in queries]
    assert list(queries.keys()) == [parts_key(q.parts, "query") for q in queries]


def test_what_was_seen_with_any_part_does_not_count() -> None:
    labels = [drawing("drawn", 0, 5), infrared("warm", 0, 3), *(row(f"photo{c}", 0, c) for c in (3, 4, 5))]
    table = label_table_of(labels)

    def dropped(*rules: str) -> list[bool]:
        protocol = Protocol(ProtocolConfig.model_validate({"exclude": rules}))
        query = AskedQuery((NIR, SKETCH), NIR)
        queries, gallery = protocol.queries(table, query.subset, query), protocol.gallery(table, [RGB])
        return protocol.exclude(*label_arrays_of(queries.items, gallery.items, table))[0].tolist()

    assert dropped("same_camera") == dropped("camera") == [True, False, True]
    assert dropped("same_sample") == [False, False, False]


def test_the_summary_says_how_queries_are_put_together() -> None:
    def said(**companions: object) -> str:
        config = ProtocolConfig.model_validate({"summary": "Mine.", "companions": companions})
        return Protocol(config).summary

    assert said() == (
        "Mine. Queries hang on each modality in turn; what accompanies them is drawn once, seed 0, from any "
        "of the same identity on the query side."
    )
    assert "hang on sketch;" in said(anchor="sketch", within="camera")
    assert said(within="camera", captures="others").endswith(
        "from any but its own of the same camera on the query side."
    )
    assert "is read from lists/test.json of" in said(file="lists/test.json")


def test_names_of_queries_are_read_and_written() -> None:
    found = parse_query(" text+ SKETCH*2 @text")
    assert found == AskedQuery((SKETCH, TEXT), TEXT, ((SKETCH, 2),))
    assert found.name == "sketch*2+text@text"
    assert parse_query("rgb*all").samples == ((RGB, ALL),)
    assert parse_query(parse_query("rgb*all").name) == parse_query("rgb*all")
    for wrong, why in {
        "sketch*0": "a number from 1 to",
        "sketch*two": "a number from 1 to",
        "sketch@nir": "anchor nir is none",
        "sketch@sketsh": "mean 'sketch'",
    }.items():
        with pytest.raises(UsageError, match=why):
            parse_query(wrong)
