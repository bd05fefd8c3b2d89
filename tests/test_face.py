"""The library's face: one import, which loads nothing before it is used, and works without Ray."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import reid
from tests.support.places import ROOT
from tests.support.world import World

HEAVY = ("torch", "ray", "pyarrow", "transformers", "matplotlib", "numpy", "PIL", "pydantic")


def run_python(code: str, *arguments: str) -> dict[str, object]:
    """The JSON that a fresh process prints in its last line."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_importing_the_library_loads_nothing() -> None:
    found = run_python(
        "import json, sys, time; started = time.perf_counter(); import reid; dir(reid)\n"
        "seconds = time.perf_counter() - started\n"
        f"print(json.dumps({{'seconds': seconds, 'loaded': [n for n in {HEAVY} if n in sys.modules]}}))"
    )
    assert found["loaded"] == []
    assert float(str(found["seconds"])) < 2


def test_every_public_name_is_listed_documented_and_what_it_says() -> None:
    names = set(reid.__all__) - {"__version__"}
    assert names == set(reid._HOMES) and names <= set(dir(reid))
    for name in names:
        assert getattr(reid, name).__doc__, name
        assert getattr(reid, name) is getattr(reid, name)
    assert isinstance(reid.Modality("rgb"), str)


def test_an_unknown_name_is_refused_with_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'loda'; it has .*load, open_shards"):
        _ = reid.loda


EVERYTHING = """
import json, sys
import reid
run = reid.load("runs/train/mine")
shape = run.embed([{"rgb": "a.jpg"}, "a red coat"]).shape
comparison = run.compare("a.jpg", "b.jpg")
hits = reid.Retriever.open(run).search("a.jpg", k=5)
data = reid.open_shards("runs/shards/mine", split="train")
batch = next(data.batches(run))
figure = reid.show(hits, path=sys.argv[1])
print(json.dumps({
    "shape": shape, "similarity": comparison.similarity, "hits": len(hits), "data": len(data),
    "batch": len(batch), "figure": figure.path, "ray": "ray" in sys.modules,
}))
"""


def test_the_whole_face_works_in_a_process_without_ray(world: World) -> None:
    code = f"import os, sys; sys.path.insert(0, os.getcwd()); os.chdir({str(world.folder)!r})\n" + EVERYTHING
    figure = str(world.folder / "face.png")
    found = run_python(code, figure)
    similarity = world.run.compare(world.folder / "a.jpg", world.folder / "b.jpg").similarity
    assert found == {
        "shape": [2, 16],
        "similarity": pytest.approx(similarity, abs=1e-6),
        "hits": 5,
        "data": 16,
        "batch": 4,
        "figure": figure,
        "ray": False,
    }


def test_everything_says_what_it_is(world: World) -> None:
    run, retriever = world.run, world.retriever
    name = f"mine ({run.fingerprint})"
    what = "baseline, any-to-any, rgb+nir+sketch+text, 16 dimensions, on cpu, calibrated"
    assert repr(run) == f"<Run {name}: {what}>"
    assert repr(run.folder) == f"<RunFolder {run.uri}: {name}, finished>"
    assert repr(world.shards) == (
        f"<ShardSet {world.shards.root}: mine, rows of train 16, test 8, rgb+nir+sketch+text>"
    )
    assert repr(retriever.gallery) == (
        f"<Gallery {retriever.gallery.uri}: rgb, 16 dimensions, model {run.fingerprint}>"
    )
    assert repr(retriever) == (
        f"<Retriever of run {name} in {retriever.gallery.uri}: 8 items (rgb), exact search>"
    )
    told = repr(retriever.search("a red coat", k=2)).splitlines()
    assert told[0].startswith("<SearchResult: text against rgb, 2 hits of gallery version")
    assert told[1].startswith("   1. ") and "item-" in told[1] and "pid 2" in told[1] and "camera" in told[1]
    assert len(repr(world.retriever.search("a red coat")[0])) < 300  # no picture's bytes
