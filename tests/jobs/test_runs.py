"""`anyreid runs`: lists, shows, compares and follows runs from the command line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import runs
from reid.runs.metrics.writing import TableWriter
from tests.support.metric_tables import write_metrics

See = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two finished runs and one that failed."""
    write_metrics(tmp_path / "mine/a", level=0.4, optim={"lr": 0.1})
    write_metrics(tmp_path / "mine/b", level=0.6, optim={"lr": 0.2})
    write_metrics(tmp_path / "mine/c", level=0.5, epochs=2, ends="failed", optim={"lr": 0.2})
    return tmp_path / "mine"


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> See:
    """Calls the verb; returns its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runs", *words])
        with pytest.raises(SystemExit) as ended:
            runs.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_the_list_is_sorted_by_a_metric_and_tells_failures(see: See, folder: Path) -> None:
    code, out, _ = see("list", str(folder), "--sort", "val/mAP")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["run", "state", "epoch", "step", "left", "written", "val/mAP", "loss"]
    assert [line.split()[0] for line in lines[1:4]] == ["mine/b", "mine/c", "mine/a"]
    assert "mine/c: TrainingError: Loss is nan" in lines[4]


def test_the_list_as_json_with_a_condition(see: See, folder: Path) -> None:
    _, out, _ = see(
        "list", str(folder), "--where", "train.optim.lr=0.2", "--where", "state=finished", "--json"
    )
    (run,) = json.loads(out)["runs"]
    assert (run["name"], run["state"], run["epoch"], run["step"]) == ("mine/b", "finished", 4, 400)


def test_show_prints_last_and_best_and_writes_a_page(see: See, folder: Path, tmp_path: Path) -> None:
    code, out, _ = see("show", str(folder / "a"), "--html", str(tmp_path / "page.html"))
    assert code == 0
    assert "finished: epoch 4/4, step 400" in out
    assert any(line.split()[0] == "val/mAP" for line in out.splitlines() if line.strip())
    assert "<svg" not in (tmp_path / "page.html").read_text().partition("<script")[0]  # drawn by its script
    assert '"val/mAP"' in (tmp_path / "page.html").read_text()


def test_compare_shows_fields_first(see: See, folder: Path) -> None:
    code, out, _ = see("compare", str(folder / "a"), str(folder / "b"))
    assert code == 0
    assert out.index("train.optim.lr") < out.index("val/mAP")
    assert "train.optim.lr  0.1  0.2" in out


def test_compare_needs_two_runs(see: See, folder: Path) -> None:
    code, _, err = see("compare", str(folder / "a"))
    assert code == 2 and "Two runs or more" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "list | show | compare | tail"),
        (("lits",), "Did you mean 'list'"),
        (("list", "{}", "--sort", "val/mPA"), "Did you mean 'val/mAP'"),
        (("list", "{}", "--metric", "acc"), "No run here has the metric 'acc'"),
    ],
)
def test_wrong_words_are_one_line(see: See, folder: Path, words: tuple[str, ...], told: str) -> None:
    code, _, err = see(*(word.format(folder) for word in words))
    assert code == 2 and told in err and "Traceback" not in err


def test_tail_follows_a_run_to_its_end(see: See, tmp_path: Path) -> None:
    writer = TableWriter(str(tmp_path / "mine/a"), every_s=0.0)
    writer.row("begin", 0, 0)
    writer.row("step", 10, 0, {"loss": 2.0})
    assert writer.flush(10.0)

    def go_on() -> None:
        writer.row("step", 20, 0, {"loss": 1.0})
        writer.flush(10.0)
        writer.end("stopped", 20, 0)

    timer = threading.Timer(0.5, go_on)
    timer.start()
    code, out, _ = see("tail", str(tmp_path / "mine/a"), "--every", "0.2")
    timer.join()
    assert code == 0
    lines = [line.partition(" ")[2] for line in out.splitlines()]
    assert lines[:3] == ["step 10, loss 2", "step 20, loss 1", "stopped after step 20"]
    assert out.splitlines()[-1] == "mine/a: stopped"
