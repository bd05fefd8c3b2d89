"""Published numbers: data of the package, found by system and data set, marked as what they are."""

from __future__ import annotations

from reid.config import presets
from reid.config.protocols.catalogue import PROTOCOLS
from reid.evaluate.report.published import NOTE, PublishedRow, _tree, published_rows


def test_a_presets_paper_is_found_by_system_and_data_set() -> None:
    first = published_rows("mfrnet", "rgbnt201")[0]
    assert (first.query, first.gallery) == ("rgb+nir+tir", "rgb+nir+tir")
    assert [first.get(m) for m in ("mAP", "R1", "R5", "R10")] == [0.807, 0.836, 0.919, 0.941]
    missing = {row.query: row.get("mAP") for row in published_rows("mfrnet", "rgbnt201")[1:]}
    assert missing["nir+tir"] == 0.647  # RGB is missing
    assert len(missing) == 6


def test_another_data_set_or_system_has_none() -> None:
    assert published_rows("mfrnet", "grocery") == ()
    assert published_rows("nobody", "rgbnt201") == ()


def test_rows_of_another_protocol_are_left_out() -> None:
    mixed = published_rows("mixer", "sysu-mm01", "sysu_mix")
    assert {row.gallery for row in mixed} == {"rgb|nir"}
    assert [row.get("R1") for row in published_rows("mixer", "regdb", "regdb_mix")] == [1.0]
    assert published_rows("mixer", "sysu-mm01") == ()


def test_every_shipped_row_is_well_formed() -> None:
    count = 0
    for system, sets in _tree().items():
        for dataset, entries in sets.items():
            for entry in entries:
                assert entry.get("protocol") is None or entry["protocol"] in PROTOCOLS
                rows = published_rows(system, dataset, entry.get("protocol"))
                assert all(row.source and 0 < (row.get("mAP") or 0) <= 1 for row in rows)
                count += 1
    assert count > 40


def test_the_file_is_no_preset() -> None:
    assert not [name for name in presets() if "published" in name]


def test_a_row_survives_its_report() -> None:
    row = published_rows("signal", "msvr310")[1]
    tree = row.to_dict()
    assert tree["note"] == NOTE == "published, not measured here"
    assert "R5" not in tree
    assert PublishedRow.from_dict(tree) == row
