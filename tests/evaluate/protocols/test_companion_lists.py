"""Lists of companions: written, read again to the same queries, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.config.protocols.query_names import parse_query
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import DataError
from reid.evaluate.gathered_rows import check_companions
from reid.evaluate.protocols.companion_lists import CompanionList
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import Modality
from tests.support.retrieval.evaluation_rows import CAPTURED, infrared, row

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT
ROWS = ("nir+sketch@nir", "nir+sketch*2@nir", "nir+text@text", "sketch*all@sketch")


def crowd() -> list[SampleLabels]:
    """Three people with sketches, infrared and a described photo each, and one with infrared alone."""
    found = [infrared("alone", 9)]
    for pid in range(3):
        found += [row(f"s{pid}{i}", pid, images={SKETCH: CAPTURED}) for i in range(3)]
        found += [infrared(f"n{pid}{i}", pid) for i in range(2)]
        found.append(row(f"p{pid}", pid, captions=(CAPTURED, CAPTURED)))
    return found


def protocol(**companions: Any) -> Protocol:
    return Protocol(ProtocolConfig.model_validate({"companions": companions}))


def pairings(*names: str) -> list[Pairing]:
    found = [parse_query(name) for name in names or ROWS]
    return [Pairing(q.subset, (RGB,), q.subset, (RGB,), anchor=q.anchor, samples=q.samples) for q in found]


def drawn(*names: str) -> CompanionList:
    found = check_companions(protocol(), crowd(), pairings(*names))
    assert found is not None
    return found


def changed(tmp_path: Path, change: Any, *names: str) -> str:
    """A list of one's own: the drawn one with a change, and without a hash."""
    tree = json.loads(drawn(*names).to_json())
    del tree["sha256"]
    change(tree["companions"])
    (tmp_path / "own.json").write_text(json.dumps(tree))
    return str(tmp_path / "own.json")


def refusal(tmp_path: Path, change: Any, *names: str) -> str:
    with pytest.raises(DataError) as error:
        check_companions(protocol(file=changed(tmp_path, change, *names)), crowd(), pairings(*names))
    return str(error.value)


def test_an_evaluation_is_repeated_from_the_list_that_it_wrote(tmp_path: Path) -> None:
    first = drawn()
    (tmp_path / "companions.json").write_bytes(first.to_json())
    again = protocol(file=str(tmp_path / "companions.json"), sha256=first.sha256)
    read = check_companions(again, crowd(), pairings())
    assert read is not None and read.sha256 == first.sha256
    for pairing in pairings():
        ours, theirs = (p.queries(crowd(), pairing.query, pairing.gathered) for p in (protocol(), again))
        assert list(ours.items) == list(theirs.items)
        assert ours.lacking == theirs.lacking


def test_a_list_has_every_anchor_item_and_one_hash_whatever_the_order_of_the_data() -> None:
    found = drawn()
    assert found.companions[NIR]["alone"] == {SKETCH: []}
    assert all(len(own[SKETCH]) == 2 for name, own in found.companions[NIR].items() if name != "alone")
    assert list(found.companions[TEXT]) == ["p0#0", "p0#1", "p1#0", "p1#1", "p2#0", "p2#1"]
    again = check_companions(protocol(), crowd()[::-1], pairings()[::-1])
    assert again is not None and again.sha256 == found.sha256
    assert CompanionList.parsed(found.to_json(), "x").companions == found.companions
    other = check_companions(protocol(seed=1), crowd(), pairings())
    assert other is not None and other.sha256 != found.sha256


def test_a_list_that_was_changed_or_is_another_is_refused(tmp_path: Path) -> None:
    text = drawn().to_json().decode()
    (tmp_path / "edited.json").write_text(text.replace('"s01"', '"s99"'))
    with pytest.raises(DataError, match=r"edited\.json states the hash .* changed after it was written"):
        check_companions(protocol(file=str(tmp_path / "edited.json")), crowd(), pairings())
    with pytest.raises(DataError, match=r"companions\.sha256: the draw has the hash .*, not 0000"):
        check_companions(protocol(sha256="0" * 64), crowd(), pairings())
    (tmp_path / "none.json").write_text('{"rows": []}')
    with pytest.raises(DataError, match=r"none\.json is no list of companions"):
        check_companions(protocol(file=str(tmp_path / "none.json")), crowd(), pairings())


def test_a_list_that_does_not_fit_the_set_is_refused_by_name(tmp_path: Path) -> None:
    row_ = "nir+sketch@nir"

    def unknown(c: Any) -> None:
        c["nir"]["n00"]["sketch"] = ["s77"]

    def stranger(c: Any) -> None:
        c["nir"]["stray"] = {"sketch": ["s00"]}

    def foreign(c: Any) -> None:
        c["nir"]["n00"]["sketch"] = ["s10"]

    def missing(c: Any) -> None:
        del c["nir"]["n11"]

    def silent(c: Any) -> None:
        del c["nir"]["n11"]["sketch"]

    def photo(c: Any) -> None:
        c["nir"]["n00"]["sketch"] = ["p0"]

    def twice(c: Any) -> None:
        c["nir"]["n00"]["sketch"] = ["s00", "s00"]

    assert "names 's77', and no query sample of the set has it as sketch" in refusal(tmp_path, unknown, row_)
    assert "names 'stray'" in refusal(tmp_path, stranger, row_)
    assert "'p0'" in refusal(tmp_path, photo, row_)
    assert "joins 'n00' and 's10', which show two identities" in refusal(tmp_path, foreign, row_)
    assert "no companions for 1 of 7 nir items of the queries (first: 'n11')" in refusal(
        tmp_path, missing, row_
    )
    assert "names no sketch for the nir item 'n11'" in refusal(tmp_path, silent, row_)
    assert "names an item twice" in refusal(tmp_path, twice, row_)


def test_an_anchor_that_no_query_has_is_refused_before_anything_else() -> None:
    labels = [row("a", 0), row("b", 0, images={SKETCH: CAPTURED, NIR: CAPTURED}, roles=("gallery",))]
    table = label_table_of(labels)
    with pytest.raises(
        DataError, match=r"companions\.anchor: rgb\+sketch@sketch->rgb hangs on sketch, and no "
    ):
        check_companions(protocol(), table, pairings("rgb+sketch@sketch"))
    with pytest.raises(DataError, match="they have rgb"):
        check_companions(protocol(), table, pairings("sketch*2@sketch"))
    assert check_companions(protocol(), table, pairings("rgb")) is None
