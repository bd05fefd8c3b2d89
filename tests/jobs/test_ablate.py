"""The ablate verb: its table, its JSON, its dry run, and exit 1 when a run failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import ablate
from reid.runs.run import Run
from tests.support.verbs import Call, Outcome

LADDER = """
- name: small
  set: {model.tower.dim: 8}
- name: bad
  set: {model.weights: /none/tower.safetensors}
"""


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ladder") / "ladder.yaml"
    path.write_text(LADDER)
    return path


def called(call: Call, world: Path, ladder: Path, *arguments: str) -> Outcome:
    given = (
        "--config",
        str(world / "tiny.yaml"),
        f"ablate.ladder={ladder}",
        "evaluate.subsets=[rgb, sketch]",
    )
    return call(ablate.ablate, *given, "ablate.seeds=[3, 4]", *arguments)


def test_it_prints_a_table_without_ray_where_nothing_needs_it(
    call: Call, tiny_run: Run, world: Path, ladder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("Ray was started for nothing")

    monkeypatch.setattr(ablate, "start_ray", never)
    outcome = called(call, world, ladder, "ablate.rows=small")
    assert outcome.code == 0, outcome.err
    head, row, *notes = outcome.out.splitlines()
    assert head.split() == ["row", "mAP", "R1", "mean", "mAP", "Δ", "mAP", "seeds", "parameters", "s/run"]
    assert row.startswith("small ") and "±" in row
    assert "Training seeds 3, 4" in outcome.out
    assert Path(notes[-1].removeprefix("tables: ")).is_file()
    assert "ablate: 2/2 runs: small, seed 4: mAP " in outcome.err
    tree = json.loads(called(call, world, ladder, "ablate.rows=small", "--json").out)
    assert tree["trained"] == 0
    assert [r["seed"] for r in tree["runs"]] == [3, 4]
    assert f"{tree['uri']}/table.md" == notes[-1].removeprefix("tables: ")


def test_a_failed_run_exits_1_after_the_table(call: Call, tiny_run: Run, world: Path, ladder: Path) -> None:
    outcome = called(call, world, ladder, "ablate.seeds=[3]", "--json")
    assert outcome.code == 1
    assert "error: 1 of 2 runs failed (the same command tries them again); first: /none/tower" in outcome.err
    rows = json.loads(outcome.out)["rows"]
    assert [(row["name"], row["finished"]) for row in rows] == [("small", 1), ("bad", 0)]


def test_a_dry_run_writes_nothing_and_needs_no_data(call: Call, ladder: Path, tmp_path: Path) -> None:
    given = ("--preset", "mfrnet/synthetic", f"workdir={tmp_path / 'work'}", "ablate.seeds=[0, 1]")
    outcome = call(ablate.ablate, *given, "--dry-run", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    tree = json.loads(outcome.out)
    assert tree["config"]["name"] == "mfrnet-synthetic"
    listed = tree["ablate"]
    assert listed["ladder"] == "mfrnet"
    assert len(listed["runs"]) == 2 * len(listed["rows"]) == 16
    assert listed["rows"][1]["changes"] == {"model.frm.enabled": False}
    assert not any(run["finished"] for run in listed["runs"])
    assert "python -m jobs.build" in listed["missing"][0]
    assert not (tmp_path / "work").exists()
