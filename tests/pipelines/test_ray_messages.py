"""Of what Ray's processes tell a driver, a person sees one line of what matters."""

from __future__ import annotations

import pytest

from pipelines.ray_messages import plain, tell_plainly

DEAD = (
    "The node with node id: 30e92bc8c089c355 and address: 10.0.0.7 and node name: x has been marked dead "
    "because the detector has missed too many heartbeats from it.\n\t(1) raylet crashes unexpectedly"
)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (DEAD, "ray: node 30e92bc8 (10.0.0.7) is lost"),
        ("Raylet is terminated. Possible reasons include: the OOM killer.\n [state-dump] x", None),
        (
            "2 Workers (tasks / actors) killed due to memory pressure (OOM)\nmore",
            "ray: 2 Workers (tasks / actors) killed due to memory pressure (OOM)",
        ),
        ("", None),
    ],
)
def test_a_line_or_nothing(message: str, line: str | None) -> None:
    assert plain(message) == line


def test_ray_itself_calls_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ray._private import worker

    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)  # put back afterwards
    lines: list[str] = []
    tell_plainly(lines.append)
    worker.print_to_stdstream({"lines": [DEAD, "x"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert lines == ["ray: node 30e92bc8 (10.0.0.7) is lost"]
    assert not capsys.readouterr().out
