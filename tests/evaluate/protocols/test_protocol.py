"""Who is asked, who is ranked, and which pairs do not count, on examples to check by eye."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from reid.config.protocols.spec import ProtocolConfig
from reid.data.shards.schema import Caption, Image, Labels, Sample
from reid.errors import DataError
from reid.evaluate.metrics.retrieval import evaluate_features
from reid.evaluate.protocols.items import Provenance, QueryPart, SampleLabels, make_query, parts_key
from reid.evaluate.protocols.label_arrays import UNKNOWN, label_arrays_of
from reid.evaluate.protocols.protocol import Protocol, get_protocol
from reid.modality import Modality

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT
CAPTURED = Provenance()


def row(name: str, pid: int, camid: int | None = None, **more: object) -> SampleLabels:
    """A sample with a captured RGB image, unless told otherwise."""
    made = SampleLabels(name, "toy", pid, camid=camid, images={RGB: CAPTURED})
    return replace(made, **more)  # type: ignore[arg-type]


def mask(
    protocol: Protocol, labels: list[SampleLabels], query: Modality = RGB, gallery: Modality = RGB
) -> list[list[int]]:
    """The exclusion matrix as 0 and 1."""
    queries = protocol.queries(labels, [query]).items
    items = protocol.gallery(labels, [gallery]).items
    return protocol.exclude(*label_arrays_of(queries, items, labels)).int().tolist()


def test_cross_camera_drops_the_same_identity_in_the_same_camera() -> None:
    labels = [row("a", 0, 1), row("b", 0, 1), row("c", 0, 2), row("d", 1, 1)]
    assert mask(get_protocol("cross_camera"), labels) == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_an_unknown_camera_drops_only_the_very_same_sample() -> None:
    labels = [row("a", 0, None), row("b", 0, None), row("c", 0, 1)]
    assert mask(get_protocol("cross_camera"), labels) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_cross_scene_drops_the_same_identity_in_the_same_scene() -> None:
    labels = [
        row("a", 0, location="12"),
        row("b", 0, location="12"),
        row("c", 0, location="4"),
        row("d", 1, location="12"),
    ]
    assert mask(get_protocol("cross_scene"), labels) == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_cameras_play_no_part_in_cross_scene_nor_scenes_in_cross_camera() -> None:
    same_camera = [row("a", 0, 1, location="12"), row("b", 0, 1, location="4")]
    same_scene = [row("a", 0, 1, location="12"), row("b", 0, 2, location="12")]
    free, dropped = [[1, 0], [0, 1]], [[1, 1], [1, 1]]
    assert mask(get_protocol("cross_scene"), same_camera) == free
    assert mask(get_protocol("cross_scene"), same_scene) == dropped
    assert mask(get_protocol("cross_camera"), same_camera) == dropped
    assert mask(get_protocol("cross_camera"), same_scene) == free


def test_scenes_have_one_code_on_both_sides_whichever_comes_first() -> None:
    labels = [
        row("q1", 0, location="4", roles=("query",)),
        row("q2", 0, location="12", roles=("query",)),
        row("g1", 0, location="12", roles=("gallery",)),
        row("g2", 0, location="30", roles=("gallery",)),
        row("g3", 0, location="4", roles=("gallery",)),
        row("g4", 0, roles=("gallery",)),
    ]
    protocol = get_protocol("cross_scene")
    assert mask(protocol, labels) == [[0, 0, 1, 0], [1, 0, 0, 0]]
    q, g = label_arrays_of(
        protocol.queries(labels, [RGB]).items, protocol.gallery(labels, [RGB]).items, labels
    )
    assert not g.location.is_floating_point()
    assert g.location[3] == UNKNOWN
    assert len({*q.location.tolist(), *g.location.tolist()}) == 4
    assert torch.equal(protocol.exclude(q[1:2], g), protocol.exclude(q, g)[1:2])


def test_the_same_scene_of_the_same_number_in_two_data_sets_is_not_dropped() -> None:
    labels = [row("a", 0, location="12"), row("b", 0, location="12", dataset="other")]
    assert mask(get_protocol("cross_scene"), labels) == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", ["roles", "all"])
def test_the_other_protocols_ignore_cameras_and_scenes(name: str) -> None:
    labels = [row("a", 0, 1, location="12"), row("b", 0, 1, location="12")]
    assert mask(get_protocol(name), labels) == [[1, 0], [0, 1]]


def test_the_same_number_in_two_data_sets_is_not_the_same_identity() -> None:
    labels = [row("a", 0, 1), row("b", 0, 1, dataset="other")]
    assert mask(get_protocol("cross_camera"), labels) == [[1, 0], [0, 1]]
    protocol = get_protocol("all")
    sides = protocol.queries(labels, [RGB]).items, protocol.gallery(labels, [RGB]).items
    q, g = label_arrays_of(*sides, labels)
    assert q.pid[0] != q.pid[1]
    assert torch.equal(q.pid, g.pid)


@pytest.mark.parametrize(
    ("name", "queries", "gallery"),
    [
        ("cross_camera", ["q", "both", "free"], ["g", "both", "free"]),
        ("cross_scene", ["q", "both", "free"], ["g", "both", "free"]),
        ("roles", ["q", "both", "free"], ["g", "both", "free"]),
        ("all", ["q", "g", "both", "free", "none"], ["q", "g", "both", "free", "none"]),
    ],
)
def test_roles_decide_who_asks_and_who_is_found(name: str, queries: list[str], gallery: list[str]) -> None:
    labels = [
        row("q", 0, roles=("query",)),
        row("g", 0, roles=("gallery",)),
        row("both", 0, roles=("query", "gallery")),
        row("free", 0, roles=None),
        row("none", 0, roles=()),
    ]
    protocol = get_protocol(name)
    assert [q.query_id for q in protocol.queries(labels, [RGB]).items] == queries
    assert [g.item_id for g in protocol.gallery(labels, [RGB]).items] == gallery


def test_a_sample_that_lacks_a_modality_takes_no_part_and_is_counted() -> None:
    labels = [
        row("a", 0, images={RGB: CAPTURED, NIR: CAPTURED}),
        row("b", 0),
        row("c", 0, roles=("gallery",)),
    ]
    queries = get_protocol("roles").queries(labels, [RGB, NIR])
    assert [q.query_id for q in queries.items] == ["a"]
    assert queries.lacking == 1
    assert get_protocol("roles").gallery(labels, [NIR, RGB]).lacking == 2


def test_text_gives_one_query_a_caption() -> None:
    labels = [row("a", 0, 3, captions=(CAPTURED, CAPTURED)), row("b", 1)]
    found = get_protocol("all").queries(labels, [TEXT, RGB])
    assert [q.query_id for q in found.items] == ["a#0", "a#1"]
    assert [q.parts[TEXT] for q in found.items] == [QueryPart("a", 0), QueryPart("a", 1)]
    assert found.items[0].parts[RGB] == QueryPart("a")
    assert found.items[0].camid == 3
    assert found.lacking == 1


def test_a_gallery_item_is_a_sample_unless_the_gallery_is_text_alone() -> None:
    labels = [row("a", 0, captions=(CAPTURED, CAPTURED))]
    protocol = get_protocol("all")
    assert [g.item_id for g in protocol.gallery(labels, [RGB, TEXT]).items] == ["a"]
    assert [g.item_id for g in protocol.gallery(labels, [TEXT]).items] == ["a#0", "a#1"]


def test_a_sketch_made_from_a_photo_of_another_sample_never_ranks_against_it() -> None:
    photo = row("photo", 0)
    other = row("other", 0)
    sketch = row("drawn", 0, images={SKETCH: Provenance("generated", "photo")})
    stranger = row("stranger", 1)
    labels = [photo, other, stranger, sketch]
    protocol = get_protocol("all")
    assert mask(protocol, labels, SKETCH, RGB) == [[1, 0, 0]]
    assert mask(protocol, labels, RGB, SKETCH) == [[1], [0], [0]]

    # A sketch that is a copy of the photo would find it at rank 1; it must find `other`, at rank 2.
    queries = protocol.queries(labels, [SKETCH]).items
    gallery = protocol.gallery(labels, [RGB]).items
    q_meta, g_meta = label_arrays_of(queries, gallery, labels)
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    cheating = evaluate_features(vectors[:1], vectors, q_meta, g_meta)
    honest = evaluate_features(vectors[:1], vectors, q_meta, g_meta, protocol.exclude)
    assert cheating.first_hit.tolist() == [1]
    assert honest.first_hit.tolist() == [2]
    assert honest.positives.tolist() == [1]


def test_leakage_alone_catches_a_part_generated_from_its_own_sample_but_not_a_captured_one() -> None:
    loose = Protocol(ProtocolConfig(exclude=()))
    made = row("a", 0, images={RGB: CAPTURED, SKETCH: Provenance("generated")})
    named = row("b", 0, images={RGB: CAPTURED, SKETCH: Provenance("generated", "b")})
    drawn = row("c", 0, images={RGB: CAPTURED, SKETCH: CAPTURED})
    assert mask(loose, [made, named, drawn], SKETCH, RGB) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    said = row("d", 0, captions=(Provenance("generated"), CAPTURED))
    assert mask(loose, [said], TEXT, RGB) == [[1], [0]]


def test_two_parts_made_from_one_photo_do_not_meet_and_padding_never_does() -> None:
    first = row("x", 0, images={SKETCH: Provenance("generated", "photo")})
    second = row("y", 0, images={NIR: Provenance("generated", "photo")})
    third = row("z", 0, images={NIR: CAPTURED})
    fourth = row("w", 0, images={SKETCH: CAPTURED})
    labels = [first, second, third, fourth]
    assert mask(get_protocol("all"), labels, SKETCH, NIR) == [[1, 0], [0, 0]]


def test_a_query_of_parts_from_two_samples_never_ranks_against_either() -> None:
    labels = [row("a", 0, 1), row("b", 0, 1, images={NIR: CAPTURED, RGB: CAPTURED}), row("c", 0, 2)]
    query = make_query([(RGB, labels[0], None), (NIR, labels[1], None)])
    assert query.query_id == "a+b"
    assert query.camid == 1
    protocol = get_protocol("all")
    q, g = label_arrays_of([query], protocol.gallery(labels, [RGB]).items, labels)
    assert protocol.exclude(q, g).tolist() == [[True, True, False]]


def test_a_query_of_parts_from_two_cameras_has_no_camera() -> None:
    a, b = row("a", 0, 1, viewid=4), row("b", 0, 2, viewid=4)
    query = make_query([(RGB, a, None), (RGB, b, None)])
    assert (query.camid, query.viewid) == (None, 4)


def test_a_query_of_parts_from_two_scenes_has_no_scene() -> None:
    a, b = row("a", 0, location="4"), row("b", 0, location="12")
    assert make_query([(RGB, a, None), (RGB, b, None)]).location is None
    assert make_query([(RGB, a, None), (RGB, replace(b, location="4"), None)]).location == "4"


def test_a_query_of_two_identities_of_nothing_or_of_a_missing_part_is_refused() -> None:
    with pytest.raises(DataError, match="several identities"):
        make_query([(RGB, row("a", 0), None), (RGB, row("b", 1), None)])
    with pytest.raises(DataError, match="at least one part"):
        make_query([])
    with pytest.raises(DataError, match="'a' has no nir"):
        make_query([(NIR, row("a", 0), None)])
    with pytest.raises(DataError, match="'a' has no text"):
        make_query([(TEXT, row("a", 0), 0)])


def test_labels_must_cover_the_items_and_name_each_sample_once() -> None:
    labels = [row("a", 0)]
    items = get_protocol("all").gallery(labels, [RGB]).items
    with pytest.raises(DataError, match="No labels for sample 'a'"):
        label_arrays_of([], items, [])
    with pytest.raises(DataError, match="unique"):
        label_arrays_of([], items, [row("a", 0), row("a", 1)])


def test_labels_of_a_sample_keep_where_each_part_came_from() -> None:
    sample = Sample(
        labels=Labels("s", "toy", "val", 4, roles=("query",), camid=2, location="gate 3"),
        images={NIR: Image(b"x", 1, 1, origin="generated", source_id="t")},
        captions=(Caption("red"), Caption("blue", origin="generated")),
        content_hash="abc",
    )
    labels = SampleLabels.of(sample)
    assert labels.modalities == (NIR, TEXT)
    assert labels.provenance(NIR, None) == Provenance("generated", "t")
    assert labels.provenance(TEXT, 1) == Provenance("generated", None)
    assert (labels.split, labels.pid, labels.camid, labels.roles) == ("val", 4, 2, ("query",))
    assert (labels.location, labels.content_hash) == ("gate 3", "abc")


def test_keys_tell_parts_captions_and_sides_apart_but_not_the_order_of_parts() -> None:
    parts = {RGB: QueryPart("a"), TEXT: QueryPart("b", 0)}
    key = parts_key(parts, "query")
    assert key == parts_key(dict(reversed(parts.items())), "query")
    others = [
        parts_key(parts, "gallery"),
        parts_key({RGB: QueryPart("a")}, "query"),
        parts_key({RGB: QueryPart("a"), TEXT: QueryPart("b", 1)}, "query"),
        parts_key({RGB: QueryPart("b"), TEXT: QueryPart("a", 0)}, "query"),
        parts_key({NIR: QueryPart("a"), TEXT: QueryPart("b", 0)}, "query"),
    ]
    assert len({key, *others}) == 6


def test_keys_are_the_same_in_another_process() -> None:
    code = (
        "from reid.evaluate.protocols.items import QueryPart, parts_key;"
        "from reid.modality import Modality as M;"
        "print(parts_key({M.RGB: QueryPart('a'), M.TEXT: QueryPart('b', 0)}, 'query'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == parts_key({RGB: QueryPart("a"), TEXT: QueryPart("b", 0)}, "query")
