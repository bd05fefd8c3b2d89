"""A traceback is kept beside the output, or where one can write."""

from __future__ import annotations

import pickle
from pathlib import Path

from pipelines.tracebacks import carried, with_traceback, write_traceback
from pipelines.training.failures import keep_tracebacks
from reid.errors import ConfigError


class Failed(Exception):
    """As Ray's: the failures of workers by rank."""

    def __init__(self, **failures: Exception) -> None:
        self.worker_failures = {int(rank[1:]): error for rank, error in failures.items()}


def test_it_lies_beside_the_output(tmp_path: Path) -> None:
    uri = write_traceback(str(tmp_path), "train", ValueError("zonk"))
    assert Path(uri).parent == tmp_path / "errors" and uri.endswith("-train.txt")
    assert "ValueError: zonk" in Path(uri).read_text()


def test_where_that_cannot_be_written_it_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file, not a folder")
    uri = write_traceback(str(tmp_path / "full"), "train", "zonk")
    assert not uri.startswith(str(tmp_path)) and Path(uri).read_text() == "zonk"
    Path(uri).unlink()


def test_it_goes_with_its_error_to_another_process() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    try:
        with_traceback(work)(7)
    except ValueError as error:
        found = carried(pickle.loads(pickle.dumps(error)))
    assert found is not None and "in work" in found


def test_every_rank_has_its_own_but_not_for_errors_that_say_it_all(tmp_path: Path) -> None:
    told = keep_tracebacks(
        Failed(r0=ValueError("a"), r1=ConfigError("x: b"), r3=KeyError("c")), str(tmp_path)
    )
    files = sorted(file.name[16:] for file in (tmp_path / "errors").iterdir())
    assert files == ["rank0.txt", "rank3.txt"]
    assert told.startswith(f" (traceback: {tmp_path}/errors/") and told.endswith("-rank0.txt)")
