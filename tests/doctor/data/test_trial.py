"""The trial of a protocol on labels: which queries nothing could answer."""

from __future__ import annotations

import pytest

from reid.doctor.data.identities import check_identities
from reid.doctor.data.source import ExaminedSample
from reid.doctor.data.trial import ProtocolTrial, camera_matters
from reid.evaluate.protocols.protocol import get_protocol
from tests.support.sets.examined_samples import NIR, RGB, TEXT, entry


def lost(protocol: str, *entries: ExaminedSample) -> list[str]:
    return ProtocolTrial(get_protocol(protocol), entries).unanswerable()


def test_cameras_decide_only_where_the_protocol_asks_for_another() -> None:
    same = [entry(1, 0, camid=5), entry(1, 1, camid=5)]
    assert lost("cross_camera", *same) == ["p1-0", "p1-1"]
    assert lost("roles", *same) == []
    assert lost("cross_camera", entry(1, 0, camid=5), entry(1, 1, camid=6)) == []
    assert lost("cross_camera", entry(1, 0, camid=None), entry(1, 1, camid=None)) == []


def test_scenes_decide_where_the_protocol_asks_for_another() -> None:
    assert lost("cross_scene", entry(1, 0, location="a"), entry(1, 1, location="a")) == ["p1-0", "p1-1"]
    assert lost("cross_scene", entry(1, 0, location="a"), entry(1, 1, location="b")) == []


def test_other_splits_and_other_identities_are_no_answer() -> None:
    assert lost("all", entry(1, 0), entry(2, 1), entry(1, 2, split="train")) == ["p1-0", "p2-1"]


def test_a_caption_may_find_its_own_photo() -> None:
    assert lost("text_to_image", entry(1, 0, (RGB, TEXT))) == []
    assert lost("all", entry(1, 0, (RGB, TEXT))) == ["p1-0"]


def test_across_modalities_an_answer_is_of_the_other_one() -> None:
    visible, infrared = entry(1, 0, (RGB,), camid=0), entry(1, 1, (NIR,), camid=1)
    assert lost("regdb", visible, infrared) == []
    strangers = [visible, entry(1, 2, (RGB,), camid=1), entry(2, 0, (NIR,))]
    assert lost("regdb", *strangers) == ["p1-0", "p1-2", "p2-0"]


@pytest.mark.parametrize(
    ("protocol", "matters"),
    [
        ("cross_camera", True),
        ("llcm", True),
        ("cross_scene", False),
        ("all", False),
        ("text_to_image", False),
    ],
)
def test_whether_cameras_matter_is_seen_from_the_protocol(protocol: str, matters: bool) -> None:
    assert camera_matters(get_protocol(protocol)) is matters


def test_one_camera_is_only_worth_knowing_where_cameras_do_not_matter() -> None:
    rows = [entry(1, n, split=s, camid=0) for s in ("train", "test") for n in (0, 1)]
    levels = {m: {f.code: f.level for f in check_identities(rows, m)}["single-camera"] for m in (True, False)}
    assert levels == {True: "warning", False: "info"}
