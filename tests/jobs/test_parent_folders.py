"""Wherever a run, a shard set or a gallery is taken, the folder of such folders is taken, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import reid
from jobs import build_compact, build_export, build_preview, build_stats, build_verify
from jobs.describe import describe
from jobs.doctor import doctor
from jobs.evaluate import evaluate
from jobs.index import index
from jobs.search import search
from jobs.train import train
from jobs.translate import translate
from jobs.tune import tune
from pipelines.serve.app import run as serve
from reid.config import override, strict_yaml
from reid.errors import AnyReIDError, GalleryError, WeightsError
from reid.gallery.store import Gallery
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.runs.run import model_context
from reid.storage.latest import LATEST, name_latest
from reid.train.setup import initialise_from
from tests.support.verbs import Call, Verb
from tests.support.world import World, make_world


@dataclass(frozen=True)
class Parents:
    """A finished project; two of everything when it is `crowded`, and then no LATEST."""

    world: World
    config: str

    @property
    def shards(self) -> Path:
        """Folder of shard sets."""
        return self.world.folder / "runs/shards/mine"

    @property
    def runs(self) -> Path:
        """Folder of runs."""
        return self.world.folder / "runs/train/mine"

    @property
    def galleries(self) -> Path:
        """Folder of galleries."""
        return self.world.folder / "runs/gallery"

    @property
    def folders(self) -> dict[str, str]:
        """What arguments of the tables below name."""
        return {
            "SHARDS": str(self.shards),
            "RUNS": str(self.runs),
            "GALLERIES": str(self.galleries),
            "SET": self.world.shards.root,
            "HERE": str(self.world.folder),
        }


def project(folder: Path) -> Parents:
    world = make_world(folder, "evaluate.actors=0", "train.val.fraction=0")
    (folder / "mine.yaml").write_text(strict_yaml.dump(world.config.model_dump(mode="json")))
    return Parents(world, str(folder / "mine.yaml"))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Parents:
    """One of everything: no name needed."""
    made = project(tmp_path_factory.mktemp("single"))
    (made.runs / LATEST).unlink()
    return made


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Parents:
    """Two of everything, and nothing says which is meant."""
    made = project(tmp_path_factory.mktemp("crowded"))
    (made.runs / LATEST).unlink()
    for parent in (made.shards, made.runs, made.galleries):
        (only,) = parent.iterdir()
        shutil.copytree(only, parent / "other")
    return made


VERBS: dict[str, tuple[Verb, str]] = {
    "build preview": (build_preview.main_preview, "SHARDS --out HERE/page.html"),
    "build stats": (build_stats.main_stats, "SHARDS --out HERE/stats"),
    "build verify": (build_verify.main_verify, "SHARDS"),
    "build export": (build_export.main_export, "SHARDS --to HERE/exported"),
    "build compact": (build_compact.main_compact, "SHARDS HERE/compacted"),
    "doctor data": (doctor, "data SHARDS"),
    "train": (train, "--config CONFIG data.shards=SHARDS --dry-run"),
    "tune": (
        tune,
        "--config CONFIG data.shards=SHARDS tune.space={seed:{choice:[1,2]}} tune.metric=loss --dry-run",
    ),
    "describe": (describe, "--config CONFIG data.shards=SHARDS"),
    "translate": (
        translate,
        "pairs=SHARDS source=rgb target=nir out=HERE/nir epochs=1 decay_epochs=0 holdout=0 height=8 width=8 "
        "batch_size=8 unet.width=4 unet.depth=2 adversarial=0",
    ),
    "evaluate shards": (evaluate, "--config CONFIG data.shards=SHARDS --dry-run"),
    "evaluate run": (evaluate, "--config CONFIG run=RUNS evaluate.subsets=[rgb]"),
    "index run": (index, "--config CONFIG run=RUNS index.gallery=HERE/new"),
    "index shards": (index, "--config CONFIG run=RUNS/0001 data.shards=SHARDS index.gallery=HERE/new"),
    "search run": (search, "--config CONFIG run=RUNS --rgb HERE/a.jpg"),
    "search gallery": (search, "--config CONFIG run=RUNS/0001 index.gallery=GALLERIES --rgb HERE/a.jpg"),
    "index gallery": (index, "--config CONFIG run=RUNS/0001 index.gallery=GALLERIES"),
}


def given(parents: Parents, words: str) -> list[str]:
    words = words.replace("CONFIG", parents.config)
    for name, folder in parents.folders.items():
        words = words.replace(name, folder)
    return words.split()


@pytest.mark.parametrize("name", VERBS)
def test_verbs_take_the_folder_of_one(name: str, single: Parents, call: Call) -> None:
    verb, words = VERBS[name]
    outcome = call(verb, *given(single, words))
    counted = name == "build verify"  # the manifest of a set that tests make has no counts
    assert outcome.code == 0 or (counted and "shards/mine/5eed" in outcome.out), outcome.out + outcome.err
    assert sorted(p.name for p in single.shards.iterdir()) == ["5eed"], "something was written beside the set"


@pytest.mark.parametrize("name", VERBS)
def test_verbs_name_what_a_crowded_folder_holds(name: str, crowded: Parents, call: Call) -> None:
    verb, words = VERBS[name]
    outcome = call(verb, *given(crowded, words))
    assert outcome.code in (1, 2)
    assert "no LATEST says which is meant" in outcome.err and ", other." in outcome.err, outcome.err


LOADERS: dict[str, Callable[[Parents], str]] = {
    "load": lambda p: reid.load(p.runs).uri,
    "open_shards": lambda p: reid.open_shards(p.shards).shards.root,
    "gallery": lambda p: reid.Gallery.open(str(p.galleries)).uri,
    "retriever": lambda p: reid.Retriever.open(p.runs, p.galleries).gallery.uri,
}


@pytest.mark.parametrize("name", LOADERS)
def test_the_library_takes_the_folder_of_one(name: str, single: Parents) -> None:
    found = Path(LOADERS[name](single))
    assert found.parent in (single.runs, single.shards, single.galleries)


@pytest.mark.parametrize("name", LOADERS)
def test_the_library_names_what_a_crowded_folder_holds(name: str, crowded: Parents) -> None:
    with pytest.raises(AnyReIDError, match=r"no LATEST says which is meant.*other"):
        LOADERS[name](crowded)


def test_weights_and_the_start_of_a_training_come_from_a_folder_of_runs(
    single: Parents, crowded: Parents
) -> None:
    source = single.world.run

    def model_of(runs: Path) -> ReIDModel:
        config = override(single.world.config, {"model.weights": f"run:{runs}"})
        return build_model(config.model, model_context(config, source.labels))

    model = model_of(single.runs)
    model.load_pretrained()
    initialise_from(model, str(single.runs))
    weights = source.model.state_dict()
    assert all((weights[k] == v).all() for k, v in model.state_dict().items())
    for start in (model_of(crowded.runs).load_pretrained, partial(initialise_from, model, str(crowded.runs))):
        with pytest.raises(WeightsError, match="no LATEST says which is meant"):
            start()


def test_an_endpoint_does_not_start_on_a_crowded_folder(crowded: Parents) -> None:
    with pytest.raises(WeightsError, match="no LATEST says which is meant"):
        serve(crowded.world.config, run_uri=str(crowded.runs))
    config = override(crowded.world.config, {"index.gallery": str(crowded.galleries)})
    with pytest.raises(GalleryError, match="no LATEST says which is meant"):
        serve(config, run_uri=str(crowded.runs / "0001"))


def test_reports_of_folders_of_runs_are_compared(single: Parents, call: Call) -> None:
    assert call(evaluate, *given(single, "--config CONFIG run=RUNS evaluate.subsets=[rgb]")).code == 0
    other = single.world.folder / "runs/train/yours"
    shutil.copytree(single.runs, other, dirs_exist_ok=True)
    words = f"--compare RUNS --compare {other} --out HERE/compared"
    outcome = call(evaluate, *given(single, words))
    assert outcome.code == 0, outcome.err
    shutil.copytree(other / "0001", other / "0002")
    outcome = call(evaluate, *given(single, words))
    assert outcome.code == 1 and "0001, 0002" in outcome.err
    name_latest(str(other / "0002"))
    assert call(evaluate, *given(single, words)).code == 0


def test_of_a_folder_of_galleries_the_run_s_own_is_meant(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    parent = Path(world.retriever.gallery.uri).parent
    Gallery.create(str(parent / "foreign"), 4, ["rgb"], "another", "elsewhere")
    name_latest(str(parent / "foreign"))
    assert reid.Retriever.open(world.run, parent).gallery.uri == world.retriever.gallery.uri
    assert reid.Gallery.open(str(parent)).uri == str(parent / "foreign")
    shutil.rmtree(world.retriever.gallery.uri)
    with pytest.raises(GalleryError, match=r"none of its galleries is of model .*foreign \(model another\)"):
        reid.Retriever.open(world.run, parent)


def test_what_was_indexed_last_is_the_newest_gallery(tmp_path: Path, call: Call) -> None:
    parents = project(tmp_path)
    Gallery.create(str(parents.galleries / "older"), 4, ["rgb"], "another", "elsewhere")
    assert call(index, *given(parents, "--config CONFIG run=RUNS/0001")).code == 0
    assert (parents.galleries / LATEST).read_text() == Path(parents.world.retriever.gallery.uri).name
    assert Gallery.open(str(parents.galleries)).uri == parents.world.retriever.gallery.uri


def test_a_run_without_a_gallery_gets_one_beside_the_others(tmp_path: Path, call: Call) -> None:
    parents = project(tmp_path)
    others = tmp_path / "galleries"
    Gallery.create(str(others / "older"), 4, ["rgb"], "another", "elsewhere")
    words = f"--config CONFIG run=RUNS index.gallery={others}"
    outcome = call(index, *given(parents, words))
    assert outcome.code == 0, outcome.err
    made = others / f"mine-{parents.world.run.fingerprint}"
    assert made.is_dir() and not (others / LATEST).exists()
    outcome = call(search, *given(parents, f"{words} --rgb HERE/a.jpg"))
    assert outcome.code == 0, outcome.err
