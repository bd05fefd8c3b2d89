"""The table of an ablation: means, sample deviations and paired differences, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from reid.studies.ladders.table import MEAN, AblationTable, SeedResults, Spread, TableRow

ROWS = (TableRow("plain", None, {}), TableRow("more", "a note", {"model.x": True}))


def run(row: str, seed: int, map_: float | None, tir: float | None = 0.1, **others: object) -> SeedResults:
    known = {
        "run": f"/w/{row}-{seed}",
        "data": "d1",
        "parameters": 1_234_567,
        "seconds": 60.0 + seed,
        "shown": "rgb+tir",
        "numbers": {"mAP": map_, "R1": 0.5},
        "subsets": {"rgb+tir": map_, "tir": tir},
    }
    return SeedResults(row, seed, **(known | others))  # type: ignore[arg-type]


def table(
    runs: Sequence[SeedResults], rows: Sequence[TableRow] = ROWS, metrics: Sequence[str] = ("mAP", "R1")
) -> AblationTable:
    return AblationTable("n", "mine.yaml", "d", "test", "cross_camera", rows, (0, 1, 2), metrics, tuple(runs))


@pytest.fixture
def full() -> AblationTable:
    plain = [run("plain", s, m) for s, m in ((0, 0.1), (1, 0.2), (2, 0.3))]
    more = [run("more", s, m, tir=0.3) for s, m in ((0, 0.2), (1, 0.4), (2, 0.3))]
    return table([*plain, *more])


def test_mean_and_sample_deviation_are_over_seeds(full: AblationTable) -> None:
    spread = full.column("plain", "mAP")
    assert spread is not None
    assert (spread.mean, spread.std) == pytest.approx((0.2, 0.1))  # variance (0.01 + 0 + 0.01) / 2
    assert spread.text() == "20.0 ± 10.0"


def test_a_single_seed_has_no_deviation() -> None:
    assert Spread({0: 0.25}).std is None
    assert Spread({0: 0.25}).text() == "25.0"
    assert Spread({0: -0.0001}).text("+") == "+0.0"


def test_differences_are_paired_by_seed(full: AblationTable) -> None:
    spread = full.difference("more", "mAP")
    assert spread is not None
    assert spread.values == pytest.approx({0: 0.1, 1: 0.2, 2: 0.0})
    assert (spread.mean, spread.std) == pytest.approx((0.1, 0.1))
    assert spread.text("+") == "+10.0 ± 10.0"
    assert full.difference("plain", "mAP") is None


def test_only_seeds_that_both_rows_finished_are_compared() -> None:
    found = table([run("plain", 0, 0.1), run("plain", 1, 0.5), run("more", 1, 0.4), run("more", 2, 0.9)])
    spread = found.difference("more", "mAP")
    assert spread is not None
    assert spread.values == pytest.approx({1: -0.1})
    assert spread.text("+") == "-10.0"


def test_the_mean_over_subsets_is_a_column_when_there_are_several(full: AblationTable) -> None:
    assert full.columns == ["mAP", "R1", MEAN]
    mean = full.column("more", MEAN)
    assert mean is not None
    assert mean.values == pytest.approx({0: 0.25, 1: 0.35, 2: 0.3})
    alone = table([run("plain", 0, 0.1, subsets={"rgb+tir": 0.1})], ROWS[:1])
    assert alone.columns == ["mAP", "R1"]
    unknown = table([run("plain", 0, 0.1, tir=None)], ROWS[:1])  # a subset without any query
    assert unknown.columns == ["mAP", "R1"]


def test_the_printed_table_has_a_line_a_row(full: AblationTable) -> None:
    head, *rows = full.grid()
    assert head == ["row", "mAP", "R1", MEAN, "Δ mAP", "seeds", "parameters", "s/run"]
    assert rows[0] == ["plain", "20.0 ± 10.0", "50.0 ± 0.0", "15.0 ± 5.0", "–", "3", "1,234,567", "61"]
    assert rows[1] == [
        "more",
        "30.0 ± 10.0",
        "50.0 ± 0.0",
        "30.0 ± 5.0",
        "+10.0 ± 10.0",
        "3",
        "1,234,567",
        "61",
    ]
    assert len({len(line) for line in full.lines()[:3]}) == 1  # aligned


def test_notes_say_what_varied_what_stayed_and_what_rows_changed(full: AblationTable) -> None:
    notes = "\n".join(full.notes())
    assert "rgb+tir on d (test), protocol cross_camera" in notes
    assert "Training seeds 0, 1, 2" in notes and "the data (d1) stay" in notes
    assert "over 2 pairings: rgb+tir, tir" in notes
    assert "more: a note; model.x=true." in notes
    assert "still to do" not in notes and "Failed" not in notes


def test_an_unfinished_table_says_so_and_failures_are_listed() -> None:
    bad = SeedResults("more", 0, "/w/more-0", error="Loss is nan")
    found = table([run("plain", 0, 0.1), bad])
    assert found.failed == [bad]
    assert found.grid()[2] == ["more", "–", "–", "–", "–", "0 of 3", "–", "–"]
    assert found.grid()[1][-3] == "1 of 3"
    notes = "\n".join(found.notes())
    assert "4 runs are still to do" in notes
    assert "Failed: more, seed 0: Loss is nan" in notes


def test_rows_of_different_data_or_modalities_are_told_apart() -> None:
    other = run("more", 0, 0.4, data="d2", shown="rgb", subsets={"rgb": 0.4})
    found = table([run("plain", 0, 0.1), other])
    assert "differ in their data (2)" in "\n".join(found.notes())
    assert [line[1] for line in found.grid()] == ["query = gallery", "rgb+tir", "rgb"]


def test_the_same_runs_under_another_name_are_told() -> None:
    rows = (TableRow("plain", None, {}), TableRow("again", None, {}, same_as="plain"))
    assert "again: the same runs as 'plain'." in table([], rows).notes()


def test_markdown_escapes_names_and_adds_the_subsets() -> None:
    rows = (TableRow("a|b", None, {}),)
    text = table([run("a|b", 0, 0.25, tir=0.125)], rows).markdown()
    assert text.splitlines()[2].startswith("| row | mAP | R1 |")
    assert "| a\\|b | 25.0 |" in text
    assert "| mAP of | rgb+tir | tir |" in text
    assert "| a\\|b | 25.0 | 12.5 |" in text


def test_results_are_json_with_every_seed(full: AblationTable) -> None:
    tree = json.loads(json.dumps(full.to_dict()))
    assert (tree["seeds"], tree["shown"], tree["subsets"]) == ([0, 1, 2], ["rgb+tir"], ["rgb+tir", "tir"])
    plain, more = tree["rows"]
    assert plain["metrics"]["mAP"]["seeds"] == {"0": 0.1, "1": 0.2, "2": 0.3}
    assert plain["difference"] == {}
    assert more["difference"]["mAP"]["mean"] == pytest.approx(0.1)
    assert (more["changes"], more["finished"], more["parameters"]) == ({"model.x": True}, 3, 1_234_567)
    assert [(r["row"], r["seed"]) for r in tree["runs"]][:4] == [
        ("plain", 0),
        ("plain", 1),
        ("plain", 2),
        ("more", 0),
    ]
    assert tree["runs"][0]["error"] is None
