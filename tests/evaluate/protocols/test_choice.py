"""The protocol that labels choose, and labels that cannot bear a protocol."""

from __future__ import annotations

import pytest

from reid.errors import ConfigError
from reid.evaluate.protocols.choice import ProtocolChoice, choose_protocol, sides_of
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import get_protocol
from reid.evaluate.support import check_support
from reid.modality import Modality

RGB, NIR = Modality.RGB, Modality.NIR
Seen = tuple[int, int | None]


def rows(*seen: Seen, modality: Modality = RGB) -> list[SampleLabels]:
    """One capture a pair of identity and camera."""
    return [
        SampleLabels(f"{modality.value}{i}", "d", pid, camid=camera, images={modality: Provenance()})
        for i, (pid, camera) in enumerate(seen)
    ]


@pytest.mark.parametrize(
    ("seen", "protocol", "note"),
    [
        ([(1, 0), (1, 1), (2, 0), (2, 0)], "cross_camera", None),
        ([(1, 3), (1, 3), (2, 3), (2, 3)], "roles", "one camera: evaluate.protocol=auto"),
        ([(1, None), (1, None), (2, None)], "roles", "no camera is known: "),
        ([(1, 0), (1, None), (2, 0)], "roles", "one camera: "),
        ([(1, 0), (1, 0), (2, 1), (2, 1)], "roles", "no identity was seen by two cameras: "),
    ],
)
def test_auto_is_what_the_cameras_allow(seen: list[Seen], protocol: str, note: str | None) -> None:
    chosen = choose_protocol("auto", rows(*seen))
    assert chosen.protocol == get_protocol(protocol)
    assert chosen.note is None if note is None else (chosen.note or "").startswith(note)
    check_support(chosen, rows(*seen))


def test_a_named_protocol_stays_and_its_sides_are_those_of_auto() -> None:
    assert choose_protocol("mix", rows((1, 0))) == ProtocolChoice(get_protocol("mix"))
    auto = sides_of("auto").config
    for name in ("cross_camera", "roles"):
        other = get_protocol(name).config
        assert (auto.query, auto.gallery, auto.asked) == (other.query, other.gallery, other.asked)


@pytest.mark.parametrize(
    ("protocol", "seen", "words"),
    [
        ("cross_camera", [(1, 0), (1, 0), (2, 1), (2, 1)], ("seen by two cameras", "Set F=auto")),
        ("mix_cam", [(1, 0), (1, 0)], ("Set F=auto", "data.reader.camera_pattern")),
        ("roles", [(1, 0), (2, 0)], ("each of its 2 identities has one capture only", "Add captures")),
        ("mix_id", [(1, 0), (1, 1), (1, 1)], ("not counted: items of the same identity in a modality",)),
    ],
)
def test_labels_that_cannot_bear_a_protocol_are_refused(
    protocol: str, seen: list[Seen], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_support(ProtocolChoice(get_protocol(protocol)), rows(*seen), field="F", what="the split")
    assert str(caught.value).startswith(f"F: under {protocol} no query of the split has a right answer: ")
    for word in words:
        assert word in str(caught.value)


def test_one_answer_of_one_identity_is_enough() -> None:
    check_support(ProtocolChoice(get_protocol("cross_camera")), rows((1, 0), (2, 1), (3, 0), (3, 1)))


def test_the_pairings_of_a_model_are_asked_and_an_empty_side_is_another_fault() -> None:
    across = ProtocolChoice(get_protocol("cross_camera"))
    labels = rows((1, 0), (1, 1)) + rows((2, 0), (2, 0), modality=NIR)
    check_support(across, labels)
    with pytest.raises(ConfigError):
        check_support(across, labels, [Pairing((NIR,), (NIR,), (NIR,), (NIR,))])
    check_support(across, labels, [Pairing((Modality.TIR,), (RGB,), (Modality.TIR,), (RGB,))])
