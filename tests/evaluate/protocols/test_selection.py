"""Who asks and who is found: cameras, splits, captions, mixed galleries, and parts of different samples."""

from __future__ import annotations

import pytest

from reid.config.protocols.spec import ProtocolConfig
from reid.errors import UsageError
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.pairing_names import gallery_name, parse_gallery, split_pairing
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.modality import PUBLISHED, Modality
from tests.support.retrieval.evaluation_rows import CAPTURED, GENERATED, infrared, row

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


def protocol(**fields: object) -> Protocol:
    return Protocol(ProtocolConfig.model_validate(fields))


def test_each_side_may_be_limited_to_cameras() -> None:
    labels = [row("a", 0, 1), row("b", 0, 2), row("c", 0, 3), row("d", 0, None)]
    found = protocol(query={"cameras": [1, 3]}, gallery={"cameras": 2})
    assert [q.query_id for q in found.queries(labels, [RGB]).items] == ["a", "c"]
    assert [g.item_id for g in found.gallery(labels, [RGB]).items] == ["b"]


def test_sides_may_be_of_different_splits() -> None:
    labels = [row("a", 0, split="val"), row("b", 0, split="test"), row("c", 0, split="train")]
    named = protocol(query={"split": "val"}).with_split("test")
    assert [q.query_id for q in named.queries(labels, [RGB]).items] == ["a"]
    assert [g.item_id for g in named.gallery(labels, [RGB]).items] == ["b"]
    assert named.splits == ("val", "test")
    assert protocol().with_split("test").splits == ("test",)


def test_text_asks_once_a_caption_or_once_an_image() -> None:
    labels = [row("a", 0, captions=(CAPTURED, CAPTURED)), row("b", 0, captions=(CAPTURED,))]
    per_image = protocol(query={"one_per": "image"}).queries(labels, [TEXT])
    assert [q.query_id for q in per_image.items] == ["a#0", "b#0"]
    assert len(protocol().queries(labels, [TEXT]).items) == 3


def test_a_mixed_gallery_has_one_item_a_kind_that_a_sample_has() -> None:
    labels = [
        row("both", 0, images={RGB: CAPTURED, NIR: CAPTURED}),
        infrared("warm", 0),
        row("drawn", 0, images={SKETCH: CAPTURED}),
    ]
    found = protocol().mixed_gallery(labels, [(RGB,), (NIR,)])
    assert [g.item_id for g in found.items] == ["both:rgb", "both:nir", "warm:nir"]
    assert [tuple(g.parts) for g in found.items] == [(RGB,), (NIR,), (NIR,)]
    assert found.lacking == 1
    assert [g.item_id for g in protocol().mixed_gallery(labels, [(RGB,)]).items] == ["both"]


def test_galleries_are_spelled_with_a_bar_between_kinds() -> None:
    assert parse_gallery("nir+rgb") == ((RGB, NIR),)
    assert parse_gallery("rgb|nir+tir") == ((RGB,), (NIR, TIR))
    assert split_pairing("sketch") == ((SKETCH,), None)
    assert split_pairing("nir->rgb|nir") == ((NIR,), ((RGB,), (NIR,)))
    assert gallery_name(((RGB,), (NIR, TIR))) == "rgb|nir+tir"
    with pytest.raises(UsageError, match="only a gallery can be mixed"):
        split_pairing("rgb|nir->rgb")
    with pytest.raises(UsageError, match="only one kind"):
        parse_gallery("rgb|rgb")
    with pytest.raises(UsageError, match="mean 'nir'"):
        parse_gallery("rgb|nri")


MADE = {RGB: CAPTURED, SKETCH: GENERATED}
SYSU = [
    *(row(f"rgb{i}", 7, i % 2, images=MADE, captions=(GENERATED,), location=f"{i % 2}") for i in range(4)),
    infrared("ir0", 7, 2, location="1"),
    infrared("ir1", 7, 5, location="5"),
    infrared("alone", 8, 5, location="5"),  # an identity without RGB
    row("stranger", 9, 3, images=MADE, captions=(GENERATED,), location="3"),
]


def test_infrared_asks_alone_as_photographed() -> None:
    queries = get_protocol("sysu_all").queries(SYSU, [NIR])
    assert [(q.query_id, q.camid, q.location) for q in queries.items] == [
        ("ir0", 2, "1"),
        ("ir1", 5, "5"),
        ("alone", 5, "5"),
    ]


@pytest.mark.parametrize("extra", [[SKETCH], [TEXT], [SKETCH, TEXT]])
def test_infrared_with_sketch_or_text_takes_them_from_one_photo_of_the_identity(
    extra: list[Modality],
) -> None:
    queries = get_protocol("sysu_all").queries(SYSU, [NIR, *extra]).items
    assert [q.parts[NIR].sample_id for q in queries] == ["ir0", "ir1"]  # `alone` has nobody to take from
    donors = [{q.parts[m].sample_id for m in extra} for q in queries]
    assert all(len(d) == 1 and d < {"rgb0", "rgb1", "rgb2", "rgb3"} for d in donors)
    assert [(q.camid, q.location) for q in queries] == [(2, "1"), (5, "5")]  # of the infrared photo
    alone = get_protocol("sysu_all").queries(SYSU, [NIR, SKETCH]).items
    assert donors == [{q.parts[SKETCH].sample_id} for q in alone]  # one donor for all subsets


def test_donors_are_drawn_by_the_seed_and_not_by_the_order_of_the_data() -> None:
    def donors(seed: int, labels: list[SampleLabels]) -> dict[str, str]:
        found = protocol(pair={"from": "rgb", "seed": seed}).queries(labels, [NIR, SKETCH]).items
        return {q.parts[NIR].sample_id: q.parts[SKETCH].sample_id for q in found}

    assert donors(0, SYSU) == donors(0, SYSU[::-1])
    assert len({tuple(sorted(donors(seed, SYSU).items())) for seed in range(20)}) > 4


def test_sketch_and_text_alone_ask_for_every_photo_and_were_seen_by_no_camera() -> None:
    for subset in ([SKETCH], [TEXT], [SKETCH, TEXT]):
        queries = get_protocol("sysu_all").queries(SYSU, subset).items
        assert [q.query_id.partition("#")[0] for q in queries] == ["rgb0", "rgb1", "rgb2", "rgb3", "stranger"]
        assert {(q.camid, q.location) for q in queries} == {(None, None)}


def test_a_paired_query_skips_its_own_room_and_its_source_and_nothing_else() -> None:
    sysu = get_protocol("sysu_all")
    queries, gallery = sysu.queries(SYSU, [NIR, SKETCH]).items, sysu.gallery(SYSU, [RGB]).items
    excluded = sysu.exclude(*label_arrays_of(queries, gallery, SYSU))
    for query, row_of in zip(queries, excluded.tolist(), strict=True):
        gone = {g.item_id for g, drop in zip(gallery, row_of, strict=True) if drop}
        room = {"rgb1", "rgb3"} if query.location == "1" else set()
        assert gone == room | {query.parts[SKETCH].sample_id}


def test_generated_infrared_is_no_infrared_photo_of_its_own() -> None:
    labels = [*SYSU, row("fake", 7, 0, images={RGB: CAPTURED, NIR: GENERATED, SKETCH: GENERATED})]
    queries = get_protocol("sysu_all").queries(labels, [NIR, SKETCH]).items
    assert "fake" not in {q.parts[NIR].sample_id for q in queries}
