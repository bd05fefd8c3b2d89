"""README's Python runs, in a folder with the small finished project that it speaks of."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.world import World

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)


def test_readme_shows_the_library_from_python() -> None:
    assert len(BLOCKS) >= 1
    for shown in ("reid.load", "run.embed", "run.compare", "Retriever.open", "reid.show", "open_shards"):
        assert any(shown in block for block in BLOCKS), shown


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_python_block_of_readme_runs(
    number: int,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(world.folder)
    script = tmp_path / f"readme_{number}.py"
    script.write_text(BLOCKS[number], "utf-8")
    names = runpy.run_path(str(script))
    told = capsys.readouterr().out
    if "reid.show" in BLOCKS[number]:
        assert names["vector"].shape == (16,) and names["vectors"].shape == (2, 16)
        assert "<Comparison of rgb with rgb: similarity " in told
        assert Path("hits.png").exists() and "hits.png: " in told
        assert told.count("item-") == 5
